"""Traces for `shadow`: a mock card crashes when it records one, so the calls themselves are kept and repeated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

_Work = Callable[[], None]


class Traces:
    """Recorded traces. A trace reads and writes the tensors of its recording, as a card's does with their addresses."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._recording: list[_Work] | None = None
        self._traces: dict[int, list[_Work]] = {}

    def add(self, work: _Work) -> None:
        """While a trace is recorded: `work` computes a call's results again, in place."""
        if self._recording is not None:
            self._recording.append(work)

    def forbid(self, what: str) -> None:
        """Raise if a trace is recorded: a card cannot exchange data with the host then."""
        if self._recording is not None:
            raise RuntimeError(f"{what} while a trace is recorded")

    def begin_trace_capture(self, _mesh: Any, *, cq_id: int = 0) -> int:
        self._recording = []
        return next(self._numbers)

    def end_trace_capture(self, _mesh: Any, number: int, *, cq_id: int = 0) -> None:
        assert self._recording is not None, "no trace is recorded"
        self._traces[number], self._recording = self._recording, None

    def execute_trace(self, _mesh: Any, number: int, *, cq_id: int = 0, blocking: bool = True) -> None:
        for work in self._traces[number]:
            work()

    def release_trace(self, _mesh: Any, number: int) -> None:
        del self._traces[number]
