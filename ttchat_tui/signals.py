"""The signals that end a process unless it handles them: here they end it in order, also the second one and the late one."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_NAMES: Final = (
    "SIGHUP", "SIGQUIT", "SIGTRAP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGXCPU", "SIGVTALRM",
    "SIGPROF", "SIGIO", "SIGPWR", "SIGSYS", "SIGEMT",
)  # fmt: skip
"""SIGINT is Python's KeyboardInterrupt already, SIGPIPE and SIGXFSZ are errors of a write. After a fault of native code
(SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT) no Python runs any more."""
_REAL_TIME: Final = tuple(range(signal.SIGRTMIN, signal.SIGRTMAX + 1)) if hasattr(signal, "SIGRTMIN") else ()
ENDING: Final[tuple[int, ...]] = (
    *(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)),
    *_REAL_TIME,
)
_WISHES: Final = frozenset({signal.SIGTERM, signal.SIGQUIT})
"""Someone wants the program to end. Of the others a second one says nothing new: a terminal that closes sends SIGHUP twice,
the kernel's and the shell's."""


class EndingSignals:
    """While this lasts the first of `ENDING` unwinds the main thread as `SystemExit(128 + number)`.

    While the program ends they are only noted, so that nothing is torn out of the middle of that. Main thread only.
    """

    def __init__(self, *, is_last: bool = False) -> None:
        """`is_last`: the process ends afterwards. It ignores them then, since Python gives them back to the default while
        it still takes itself down, and one would change the exit code that has been decided."""
        self.number = 0
        """The first that came; 0 while none has."""
        self._is_last = is_last
        self._is_ending = False
        self._is_waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> EndingSignals:
        self._before = {number: signal.signal(number, self._arrive) for number in ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if self._is_last else handler)

    def begin_end(self) -> None:
        """From now on the program ends."""
        self._is_ending = True

    @contextmanager
    def impatience(self) -> Generator[None, None, None]:
        """In this block, while the program ends, SIGTERM or SIGQUIT is a KeyboardInterrupt once, as ctrl+c is: wait no
        longer."""
        self._is_waiting = True
        try:
            yield
        finally:
            self._is_waiting = False

    def _arrive(self, number: int, _frame: FrameType | None) -> None:
        is_ending, self._is_ending = self._is_ending, True
        self.number = self.number or number
        if not is_ending:
            raise SystemExit(128 + number)
        if self._is_waiting and number in _WISHES:
            self._is_waiting = False
            raise KeyboardInterrupt


def name(number: int) -> str:
    """`SIGQUIT (Quit)`"""
    try:
        known = signal.Signals(number).name
    except ValueError:  # most of the real-time ones
        known = f"signal {number}"
    words = signal.strsignal(number)
    return f"{known} ({words})" if words else known
