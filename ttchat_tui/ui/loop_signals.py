"""Signal handlers that call a function on the event loop.

asyncio's own handlers end with its loop; after that the next signal would kill the process.
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
    """Calls `on_signal` on the running loop with the signal's number. Main thread only.

    It survives the loop and then does nothing. The code that runs the loop restores handlers and the wake-up descriptor
    (`terminal.captured`).
    """

    def __init__(self, on_signal: Callable[[int], object], at_once: Callable[[int], object]) -> None:
        """`at_once` is called in the handler itself, before the loop gets to `on_signal`; it may raise."""
        self._at_once = at_once
        self._loop, self._on_signal = asyncio.get_running_loop(), on_signal
        self._context = contextvars.copy_context()  # the app's: a signal may arrive in any other
        # Python runs handlers between bytecode instructions: a waiting loop has to be woken up.
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self._loop.add_reader(self._woken, self._drain)

    def handle(self, numbers: Iterable[int]) -> None:
        """Handle these signals from now on. Call it again if others may have replaced the handlers."""
        for number in numbers:
            self._loop.remove_signal_handler(number)
            signal.signal(number, self._arrive)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            self._woken.recv(4096)

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        self._at_once(number)
        with suppress(RuntimeError):  # the loop is closed: the app has ended
            self._loop.call_soon_threadsafe(self._on_signal, number, context=self._context)
