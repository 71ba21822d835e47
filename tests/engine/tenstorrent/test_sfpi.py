"""The line of `doctor` about the compiler for the card's kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.engine.doctor import Check
from ttchat_tui.engine.tenstorrent import sfpi
from ttchat_tui.engine.tenstorrent.environment import Checkout
from ttchat_tui.engine.tenstorrent.telemetry import System

COMPILER = "compiler/bin/riscv-tt-elf-g++"


@pytest.fixture(autouse=True)
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sfpi.importlib.util, "find_spec", lambda _name: None)


def examine(root: Path, **environ: str) -> Check:
    return sfpi.sfpi_check(System(root), environ, Checkout(root / "metal", "TT_METAL_HOME"))


def write(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def pin(root: Path, version: str) -> None:
    write(
        root / "metal/tt_metal/sfpi-version",
        f"# sfpi release {version}\nsfpi_version='{version}'\nsfpi_build='1'\n",
    )


def test_a_missing_compiler_is_wrong_with_both_places_and_the_release_to_install(tmp_path: Path) -> None:
    pin(tmp_path, "7.89.0")
    check = examine(tmp_path)
    assert check.verdict == "wrong"
    assert str(tmp_path / "metal/runtime/sfpi") in check.fact
    assert str(tmp_path / "opt/tenstorrent/sfpi") in check.fact
    assert "release 7.89.0" in check.cure


@pytest.mark.parametrize("place", ["metal/runtime/sfpi", "opt/tenstorrent/sfpi", "named/runtime/sfpi"])
@pytest.mark.parametrize(("found", "verdict"), [("7.89.0", "ok"), ("7.15.0", "note")])
def test_its_release_is_compared_with_that_of_ttnn(
    tmp_path: Path, place: str, found: str, verdict: str
) -> None:
    pin(tmp_path, "7.89.0")
    write(tmp_path / place / COMPILER, "")
    write(tmp_path / place / "sfpi.version", f"{found}\n")
    check = examine(tmp_path, TT_METAL_RUNTIME_ROOT=str(tmp_path / "named"))
    assert check.verdict == verdict
    assert found in check.fact
    assert "7.89.0" in check.fact


def test_without_a_file_the_compiler_itself_names_its_release(tmp_path: Path) -> None:
    pin(tmp_path, "7.69.0")
    printed = "riscv-tt-elf-g++ (tenstorrent/sfpi:7.69.0[822]) 15.1.0"
    write(tmp_path / "opt/tenstorrent/sfpi" / COMPILER, f"#!/bin/sh\necho '{printed}'\n", 0o755)
    assert examine(tmp_path).verdict == "ok"


def test_a_compiler_that_does_not_run_is_of_an_unknown_release(tmp_path: Path) -> None:
    write(tmp_path / "opt/tenstorrent/sfpi" / COMPILER, "no program", 0o755)
    assert examine(tmp_path).fact.startswith("of an unknown release")
    pin(tmp_path, "7.69.0")
    check = examine(tmp_path)
    assert check.verdict == "note"
    assert check.fact.endswith("this ttnn wants 7.69.0")
