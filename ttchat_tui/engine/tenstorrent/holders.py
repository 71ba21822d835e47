"""Check for other processes that have a card open, before the native code does: it would wait forever and ignore ctrl+c
(tt-umd#2336)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ttchat_tui.domain.telemetry import Holder
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.telemetry import System

_VISIBLE_VARIABLES = ("TT_VISIBLE_DEVICES", "TT_METAL_VISIBLE_DEVICES")
_MOCK = "TT_METAL_MOCK_CLUSTER_DESC_PATH"


def require_free(environ: Mapping[str, str], own_pid: int | None = None) -> None:
    """Check the cards that the native code will open: all that the environment leaves visible, whatever the mesh.

    Raises:
        EngineError: of kind `card_in_use`; it names the cards and processes.
    """
    if environ.get(_MOCK):
        return
    system = System.of(environ)
    own = os.getpid() if own_pid is None else own_pid
    held = [
        (number, holder)
        for number in system.card_numbers()
        if _is_visible(number, environ)
        for holder in system.holders(number)
        if holder.pid != own
    ]
    if held:
        raise EngineError(
            f"{'; '.join(f'card {number} is open in {named(holder)}' for number, holder in held)}.",
            f"End it (`kill {held[0][1].pid}`), or hide that card with TT_VISIBLE_DEVICES. If the process only monitors "
            "the card, set [tt] ignore_holders = true.",
            "card_in_use",
        )


def named(holder: Holder) -> str:
    """`process 4242 (python3)`"""
    return f"process {holder.pid}" + (f" ({holder.name})" if holder.name else "")


def _is_visible(number: int, environ: Mapping[str, str]) -> bool:
    visible = next((environ[name] for name in _VISIBLE_VARIABLES if environ.get(name)), "")
    numbers = [word.strip() for word in visible.split(",") if word.strip()]
    # Other forms than plain numbers (bus addresses) are not parsed: every card counts then.
    if not numbers or not all(word.isdigit() for word in numbers):
        return True
    return str(number) in numbers
