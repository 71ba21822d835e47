"""Whether this user can open the cards. ttnn skips a card that it cannot open, and then finds no chips."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import MOCK, visible_numbers


def require_access(environ: Mapping[str, str]) -> None:
    """Check that one of the visible cards can be opened, if there are any. A container may have the device files of some.

    Raises:
        EngineError: of kind `permission_denied` or `no_card`.
    """
    system = System.of(environ)
    numbers = [] if environ.get(MOCK) else visible_numbers(system, environ)
    problems = [found for number in numbers if (found := access_problem(system, number))]
    if problems and len(problems) == len(numbers):
        problem = max(problems, key=lambda each: each.kind == "permission_denied")
        raise EngineError(problem.message, problem.cure, problem.kind)


def access_problem(system: System, number: int) -> ErrorInfo | None:
    """Why this user cannot open card `number`, if that is so."""
    node = system.root / f"dev/tenstorrent/{number}"
    if not os.path.exists(node):
        return ErrorInfo(
            kind="no_card",
            message=f"The driver knows card {number}, but there is no /dev/tenstorrent/{number}.",
            cure="A container needs --device /dev/tenstorrent; otherwise `sudo udevadm trigger`, or reboot.",
        )
    if not os.access(node, os.R_OK | os.W_OK):
        return ErrorInfo(
            kind="permission_denied",
            message=f"This user may not open /dev/tenstorrent/{number} ({_mode(node)}).",
            cure="Install tt-kmd's udev rules (mode 0666), or add yourself to that group and log in again.",
        )
    return None


def _mode(node: Path) -> str:
    """`crw-rw---- root:tt`"""
    try:
        status = os.stat(node)
        return f"{stat.filemode(status.st_mode)} {node.owner()}:{node.group()}"
    except (OSError, KeyError):  # gone meanwhile, or its owner has no name here
        return "its mode cannot be read"
