"""Check for other processes that have a card open, before the native code does: it would wait forever and ignore ctrl+c
(tt-umd#2336)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.telemetry import Holder
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import MOCK, visible_numbers


def require_free(environ: Mapping[str, str], own_pid: int | None = None) -> None:
    """Check the cards that native code will open.

    Raises:
        EngineError: of kind `card_in_use`; it names the cards and processes.
    """
    if environ.get(MOCK):
        return
    system = System.of(environ)
    own = os.getpid() if own_pid is None else own_pid
    held = [
        (number, holder)
        for number in visible_numbers(system, environ)
        for holder in system.holders(number)
        if holder.pid != own
    ]
    if held:
        raise EngineError(
            f"{'; '.join(f'card {number} is open in {named(holder)}' for number, holder in held)}.",
            f"End it (`kill {held[0][1].pid}`), or hide that card with TT_VISIBLE_DEVICES. If the process only monitors "
            f"the card, set {setting('tt.ignore_holders', 'true')}.",
            "card_in_use",
        )


def named(holder: Holder) -> str:
    """`process 4242 (python3)`"""
    return f"process {holder.pid}" + (f" ({holder.name})" if holder.name else "")
