"""Choice between one thread and many while replies run: OpenMP's barriers collapse when other programs use the cores.

Measured beside other programs on two cores: 580 tokens took 105 s on two threads and 15 s on one.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decoding.loop import Stepper

WINDOW: Final = 16
"""Decode steps in one measurement."""
TRIAL: Final = 4
"""Steps to try the other number of threads: few, because it may be ten times slower."""
REST: Final = 32
"""Windows between two trials."""
_SLOW: Final = 1.5
_GAIN: Final = 0.9


class ThreadGovernor:
    """Chooses the number of threads by the time of steps.

    When many threads take 1.5 times as long as their best window, one is tried, and kept if it is a tenth faster. On one,
    many are tried from time to time.

    One row is bound by memory, which a few threads may read as fast as all cores. Several rows are bound by computation: they
    run on all cores, unless many threads took 1.5 times as long as one in the last trial, because other programs use the cores.
    """

    def __init__(self, cores: int, many: int, threads: int, set_threads: Callable[[int], None]) -> None:
        """
        Args:
            many: threads on which one row is fastest, if not on one.
            threads: the current number: `many` or 1.
        """
        self._alone = cores, many
        """`_cores` and `_many` of a model that decodes alone."""
        self._cores, self._many = self._alone
        self._set_threads = set_threads
        self.threads = threads
        """Of a forward of one row."""
        self._in_use = threads
        self._is_crowded = False
        self._steps: list[float] = []
        self._best_s = float("inf")
        self._before_s: float | None = None
        """Seconds per step before the current trial."""
        self._rest = 0

    def share(self, models: int) -> None:
        """Use at most a share of the threads, since so many models decode at once."""
        self._cores, many = (max(1, threads // models) for threads in self._alone)
        if many != self._many:
            self._many, self._best_s, self._before_s, self._rest = many, float("inf"), None, 0
            self._steps.clear()
            self.threads, self._is_crowded = many, False

    def use_for(self, rows: int) -> None:
        """Set the number of threads for the next forward, which has so many rows."""
        threads = self.threads if rows == 1 or self._is_crowded else self._cores
        if threads != self._in_use:
            self._in_use = threads
            self._set_threads(threads)

    def observe(self, seconds: float) -> None:
        """Record the time of one decode step."""
        if self._many == 1:
            return
        self._steps.append(seconds)
        if len(self._steps) < (WINDOW if self._before_s is None else TRIAL):
            return
        typical_s = statistics.median(self._steps)
        self._steps.clear()
        if self._before_s is not None:
            is_of_many = self.threads == self._many
            many_s, one_s = (typical_s, self._before_s) if is_of_many else (self._before_s, typical_s)
            self._is_crowded = many_s > one_s * _SLOW
            if typical_s > self._before_s * _GAIN:
                self._switch()
            self._before_s, self._rest = None, REST
            return
        if self.threads == self._many:
            self._best_s = min(self._best_s, typical_s)
        if self._rest:
            self._rest -= 1
        elif self.threads == 1 or typical_s > self._best_s * _SLOW:
            self._before_s = typical_s
            self._switch()

    def _switch(self) -> None:
        self.threads = self._many if self.threads == 1 else 1


class GovernableStepper(Stepper, Protocol):
    before_forward: Callable[[int], None]
    """Called before each forward with the number of its rows."""


class GovernedStepper(Stepper):
    """A stepper with governed threads. Its drafts and batches, which bypass this one, are governed too."""

    def __init__(
        self,
        stepper: GovernableStepper,
        cores: int,
        many: int,
        threads: int,
        set_threads: Callable[[int], None],
    ) -> None:
        self._stepper = stepper
        self._governor = ThreadGovernor(cores, many, threads, set_threads)
        stepper.before_forward = self._governor.use_for

    def share(self, models: int) -> None:
        """See `ThreadGovernor`."""
        self._governor.share(models)

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return self._stepper.cached_prefix(ids)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        return self._stepper.prefill(ids, report)

    def becomes_long(self, length: int) -> bool:
        return self._stepper.becomes_long(length)

    def step(self, token_id: int) -> NDArray[np.float32]:
        start = time.perf_counter()
        logits = self._stepper.step(token_id)
        self._governor.observe(time.perf_counter() - start)
        return logits
