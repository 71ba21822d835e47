"""Time-outs for an engine on a Tenstorrent card: if it is killed too early, the card has to be reset."""

from __future__ import annotations

from typing import Final

import msgspec

from ttchat_tui.engine.runtime.child import Timeouts

_SILENCE_S: Final = 90.0
"""Longer than `[tt] operation_timeout_s`, so that ttnn raises its own error, which has a cure, before we kill it."""
_COMPILE_S: Final = 600.0
"""For a program that is compiled for the first time, in a load or in the first reply of a new shape."""
_CANCEL_S: Final = 120.0
"""Native code cannot be interrupted: the first compilation of a prefill length may take minutes."""
CLOSE_S: Final = 20.0
"""For closing the card, which first finishes the programs that run on it."""


def card_timeouts(base: Timeouts) -> Timeouts:
    """`base` with every time-out raised to what a card needs; a step time-out of None stays None."""
    return msgspec.structs.replace(
        base,
        silence_s=max(base.silence_s, _SILENCE_S),
        load_silence_s=max(base.load_silence_s, _SILENCE_S),
        min_step_s=max(base.min_step_s, _SILENCE_S),
        step_s=None if base.step_s is None else max(base.step_s, _COMPILE_S),
        cancel_s=max(base.cancel_s, _CANCEL_S),
        close_s=max(base.close_s, CLOSE_S),
    )
