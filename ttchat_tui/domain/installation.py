"""How to add packages to the Python environment that this program runs in."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import sys
from pathlib import Path
from typing import Final

NAME: Final = "ttchat-tui"


def install_command(*requirements: str) -> str:
    """The command that installs `requirements` (`gguf`, `ttchat-tui[web]`) beside this program.

    It names this Python, since after `uv tool install` or `pipx install` another one is on the PATH. Environments that uv
    made have no pip. An extra of this program takes nothing from a package index but the packages of the extra: the
    program itself is installed already.
    """
    targets = " ".join(map(_target, requirements))
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} {targets}"
    return f"{python} -m pip install {targets}"


def _target(requirement: str) -> str:
    if requirement.startswith(f"{NAME}[") and not _is_installed():
        return f"-e {shlex.quote(f'{_checkout()}{requirement.removeprefix(NAME)}')}"
    return shlex.quote(requirement)


def _is_installed() -> bool:
    """False if it runs from a checkout that is only on the module path."""
    try:
        importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _checkout() -> Path:
    return Path(__file__).parents[2]
