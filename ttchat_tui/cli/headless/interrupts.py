"""Signals without a screen: noted while the engine works, so that no write is interrupted."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from ttchat_tui.signals import ENDING


class Interrupts:
    """What has arrived since the block was entered."""

    def __init__(self) -> None:
        self.signal_number = 0
        """0 while there is none, else the first one's number."""

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """Note the first one for the program to look at. A second one means that the user does not want to wait; except
        SIGHUP, which a terminal that closes sends twice."""
        if self.signal_number and signal_number != signal.SIGHUP:
            raise KeyboardInterrupt
        self.signal_number = self.signal_number or signal_number


@contextmanager
def noted_interrupts() -> Generator[Interrupts, None, None]:
    """In this block SIGINT and the `ENDING` signals raise nothing the first time. Main thread only."""
    interrupts = Interrupts()
    before = {number: signal.signal(number, interrupts.note) for number in (signal.SIGINT, *ENDING)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
