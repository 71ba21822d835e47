"""Signals without a screen: recorded while the engine works, so that no write is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ttchat_tui.signals import ENDING


class Interrupts:
    """The signals since the start of the block."""

    def __init__(self) -> None:
        self.signal_number = 0
        """Number of the first signal; 0 without one."""

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """Record the first signal. A second one raises KeyboardInterrupt, because the user does not want to wait; except
        SIGHUP, which a closing terminal sends twice."""
        if self.signal_number and signal_number != signal.SIGHUP:
            raise KeyboardInterrupt
        self.signal_number = self.signal_number or signal_number


@contextmanager
def noted_interrupts() -> Generator[Interrupts, None, None]:
    """In this block the first SIGINT or `ENDING` signal raises nothing. Main thread only."""
    interrupts = Interrupts()
    before = {number: signal.signal(number, interrupts.note) for number in (signal.SIGINT, *ENDING)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
