"""How long a card's engine may take: killed too early, it leaves a card that has to be reset."""

from __future__ import annotations

from typing import Final

import msgspec

from ttchat_tui.engine.runtime.child import Patience

_SILENCE_S: Final = 90.0
"""Longer than `[tt] operation_timeout_s`, so that ttnn's own error, which names the cure, comes before our kill."""
_COMPILE_S: Final = 600.0
"""A program that was compiled never before, in a load or in the first reply of a new shape."""
_CANCEL_S: Final = 120.0
"""Native code cannot be broken off: compiling one prefill length takes up to minutes, the first time."""
FAREWELL_S: Final = 20.0
"""For closing the card, which waits for what runs on it."""


def card_patience(base: Patience) -> Patience:
    """`base`, but never less than a card needs; a step limit that is off stays off."""
    return msgspec.structs.replace(
        base,
        silence_s=max(base.silence_s, _SILENCE_S),
        load_silence_s=max(base.load_silence_s, _SILENCE_S),
        least_step_s=max(base.least_step_s, _SILENCE_S),
        step_s=None if base.step_s is None else max(base.step_s, _COMPILE_S),
        cancel_s=max(base.cancel_s, _CANCEL_S),
        farewell_s=max(base.farewell_s, FAREWELL_S),
    )
