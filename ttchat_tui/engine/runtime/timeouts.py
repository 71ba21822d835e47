"""Time-outs raised to the minimum that an engine declares."""

from __future__ import annotations

import msgspec

from ttchat_tui.engine.declaration import MinTimeouts
from ttchat_tui.engine.runtime.child import Timeouts


def with_minimum(timeouts: Timeouts, minimum: MinTimeouts) -> Timeouts:
    """`timeouts` with every time-out raised to `minimum`; a step time-out of None stays None."""
    return msgspec.structs.replace(
        timeouts,
        silence_s=max(timeouts.silence_s, minimum.silence_s),
        load_silence_s=max(timeouts.load_silence_s, minimum.silence_s),
        min_step_s=max(timeouts.min_step_s, minimum.silence_s),
        step_s=None if timeouts.step_s is None else max(timeouts.step_s, minimum.step_s),
        cancel_s=max(timeouts.cancel_s, minimum.cancel_s),
        close_s=max(timeouts.close_s, minimum.close_s),
    )
