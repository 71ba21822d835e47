"""One-shot timers that always fire.

Replaces `Timer` in `textual.message_pump` of Textual 8.2.8. There, a timer that starts more than its delay late skips that
tick, and a one-shot timer has no other: its callback is never called. On a busy machine a resize is lost that way, and so
is every later one, because the app waits for the timer of the first.
"""

from __future__ import annotations

from textual import message_pump
from textual.message_pump import MessagePump
from textual.timer import Timer, TimerCallback


class OneShotTimer(Timer):
    """A `Timer` that skips late ticks only if others follow."""

    def __init__(
        self,
        event_target: MessagePump,
        interval: float,
        *,
        name: str | None = None,
        callback: TimerCallback | None = None,
        repeat: int | None = None,
        skip: bool = True,
        pause: bool = False,
    ) -> None:
        """As `Timer`; `repeat` is the number of ticks after the first, None for no limit."""
        super().__init__(
            event_target,
            interval,
            name=name,
            callback=callback,
            repeat=repeat,
            skip=skip and repeat != 0,
            pause=pause,
        )


message_pump.Timer = OneShotTimer
