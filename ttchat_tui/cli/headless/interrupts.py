"""Signals without a screen: noted while the engine works, so that nothing is torn out of the middle of a write."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """What has arrived since the block was entered."""

    def __init__(self) -> None:
        self.signal_number = 0
        """0 while there is none, else the first one's number."""

    def note(self, signal_number: int, frame: FrameType | None) -> None:
        """The first one is for the program to look at; whoever sends a second one does not want to wait."""
        if self.signal_number:
            raise KeyboardInterrupt
        self.signal_number = signal_number


@contextmanager
def noted_interrupts() -> Generator[Interrupts, None, None]:
    """In this block SIGINT, SIGTERM and SIGHUP raise nothing the first time. Main thread only."""
    interrupts = Interrupts()
    before = {number: signal.signal(number, interrupts.note) for number in (signal.SIGINT, *ENDING)}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def exit_on_ending_signals() -> Generator[None, None, None]:
    """In this block SIGTERM and SIGHUP unwind as `SystemExit(128 + number)`: engine and database are closed."""

    def leave(signal_number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signal_number)

    before = {number: signal.signal(number, leave) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
