"""Signals as calls on the event loop.

Not by asyncio's own handlers: with its loop those give way to the default, by which the next signal kills.
"""

from __future__ import annotations

import asyncio
import contextvars
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType


class LoopSignals:
    """Calls `take` on the running loop with the number of each of `numbers` that comes; main thread only.

    It stays when the loop has closed, and does nothing then: who runs the loop puts handlers and the wake-up descriptor
    back, while this still lives (`terminal.captured`).
    """

    def __init__(self, take: Callable[[int], object]) -> None:
        self._loop, self._take = asyncio.get_running_loop(), take
        self._context = contextvars.copy_context()  # of the app: a signal comes in any
        # Python runs a handler between two of its instructions: a loop that waits has to be woken for it.
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._loop.add_reader(self._woken, self._drain)

    def handle(self, numbers: Iterable[int]) -> None:
        """From now on; once more where others have set theirs meanwhile."""
        for number in numbers:
            self._loop.remove_signal_handler(number)
            signal.signal(number, self._arrive)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        with suppress(RuntimeError):  # the loop has closed: the app has ended meanwhile
            self._loop.call_soon_threadsafe(self._take, number, context=self._context)
