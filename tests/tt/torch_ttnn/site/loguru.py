"""Stands for loguru: `logger` hands each line to its sinks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class _Logger:
    def __init__(self) -> None:
        self._sinks: dict[int, Callable[[str], Any]] = {}
        self._added = 0

    def add(self, sink: Callable[[str], Any], **_: Any) -> int:
        self._added += 1
        self._sinks[self._added] = sink
        return self._added

    def remove(self, sink: int) -> None:
        """
        Raises:
            ValueError: it was removed before.
        """
        if self._sinks.pop(sink, None) is None:
            raise ValueError(f"There is no existing handler with id {sink}")

    def _write(self, message: object, *_: Any, **__: Any) -> None:
        for sink in list(self._sinks.values()):
            sink(f"{message}\n")

    trace = debug = info = success = warning = error = critical = exception = _write


logger = _Logger()
