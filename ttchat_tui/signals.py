"""An orderly end on every signal that ends a process, also on a second signal and during shutdown."""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, TextIO

_NAMES: Final = (
    "SIGHUP", "SIGQUIT", "SIGTRAP", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGSTKFLT", "SIGXCPU", "SIGVTALRM",
    "SIGPROF", "SIGIO", "SIGPWR", "SIGSYS", "SIGEMT",
)  # fmt: skip
"""Not in the list: SIGINT, which Python turns into KeyboardInterrupt; `STACKS_SIGNAL`, which ends nothing; SIGPIPE and SIGXFSZ, which become errors of a write;
and faults of native code (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT), after which no Python runs."""
_REAL_TIME: Final = tuple(range(signal.SIGRTMIN, signal.SIGRTMAX + 1)) if hasattr(signal, "SIGRTMIN") else ()
ENDING: Final[tuple[int, ...]] = (
    *(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name)),
    *_REAL_TIME,
)
STACKS_SIGNAL: Final = signal.SIGUSR1
"""On this signal the app, any command and the engine's process write the stacks of their threads and go on."""
_REQUESTS: Final = frozenset({signal.SIGTERM, signal.SIGQUIT})
"""Sent by a person or a supervisor, so a second one is impatience. Others repeat by themselves: a closing terminal sends
SIGHUP twice, once from the kernel and once from the shell."""


def write_stacks_to(file: int | TextIO) -> None:
    """On `STACKS_SIGNAL` write the stacks of all threads to `file`, from now on. The handler is in C: it does not wait until
    Python runs again, as handlers in Python do while native code runs."""
    faulthandler.register(STACKS_SIGNAL, file, all_threads=True)


class EndingSignals:
    """In this context the first signal of `ENDING` raises `SystemExit(128 + number)` in the main thread.

    Later signals do not interrupt the shutdown. For the main thread only.
    """

    def __init__(self, *, is_last: bool = False) -> None:
        """`is_last`: the process ends after this context, and ignores signals from there on. Python's finalization would
        restore the default handlers, and a signal would change the exit code."""
        self.number = 0
        """The first signal; 0 before it."""
        self._is_last = is_last
        self._is_ending = False
        self._is_waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> EndingSignals:
        self._before = {number: signal.signal(number, self._arrive) for number in ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        # A shutdown continues in the context around this one: a further signal would break off its end, and the default
        # handlers would come back.
        self._is_ending = self._is_ending or self._is_last
        for number, handler in self._before.items():
            outer = getattr(handler, "__self__", None)
            if self._is_ending and isinstance(outer, EndingSignals):
                outer.begin_end()
            signal.signal(number, signal.SIG_IGN if self._is_last else handler)

    def begin_end(self) -> None:
        """Declare that the shutdown has begun."""
        self._is_ending = True

    @contextmanager
    def impatience(self) -> Generator[None, None, None]:
        """In this block SIGTERM or SIGQUIT during the shutdown raises KeyboardInterrupt once, as ctrl+c does: it ends a
        wait."""
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
        if self._is_waiting and number in _REQUESTS:
            self._is_waiting = False
            raise KeyboardInterrupt


def name(number: int) -> str:
    """`SIGQUIT (Quit)`"""
    try:
        known = signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        known = f"signal {number}"
    words = signal.strsignal(number)
    return f"{known} ({words})" if words else known
