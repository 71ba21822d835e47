"""requirements.lock has one exact version of every dependency for every supported Python, and nothing of one machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[2]
LOCKED = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
NOT_LOCKED = {"torch"}
"""The Makefile names its version, because the CPU build has a version of its own."""


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["cpu"], *extras["web"], *extras["constrain"], *extras["dev"]]
    return [each for each in map(Requirement, lines) if each.name not in NOT_LOCKED]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_every_dependency_has_one_version_that_pyproject_allows(python: str) -> None:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
    }

    def applies(each: Requirement) -> bool:
        return each.marker is None or each.marker.evaluate(environment)

    for wanted in filter(applies, declared()):
        (locked,) = [each for each in LOCKED if each.name == wanted.name.replace("_", "-") and applies(each)]
        (pin,) = locked.specifier
        assert pin.operator == "=="
        assert wanted.specifier.contains(pin.version), f"make lock: {wanted} allows no {pin.version}"


def test_it_names_no_index_no_url_and_no_hash() -> None:
    assert not any(each.url for each in LOCKED)
    text = (ROOT / "requirements.lock").read_text("utf-8")
    assert not any(mark in text for mark in ("://", "--", "@"))
