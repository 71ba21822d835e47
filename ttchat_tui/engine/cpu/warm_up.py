"""Warm-up of a loaded model: run every kernel once, and find the number of threads that decodes fastest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final

from ttchat_tui.engine.decoding.loop import Stepper

_SECONDS: Final = 0.05
"""Time for each number of threads."""
_GAIN: Final = 0.95
"""More threads must be at least 5 % faster, because each one takes a core from the rest of the machine."""


def warm_up(
    stepper: Stepper,
    threads: int,
    report: Callable[[int, int], None],
    set_threads: Callable[[int], None],
) -> int:
    """Run a short prompt and a few steps; `report(done, total)` may raise.

    Args:
        threads: how many to use; 0 measures 1, 2, 4 … up to all cores and keeps the best.
    Returns:
        The number of threads that is set now.
    """
    candidates = [threads] if threads else thread_counts(usable_cores())
    best, best_s = candidates[0], float("inf")
    for index, count in enumerate(candidates):
        report(index, len(candidates))
        set_threads(count)
        seconds = _seconds_per_step(stepper)
        if seconds < best_s * _GAIN:
            best, best_s = count, seconds
    set_threads(best)
    report(len(candidates), len(candidates))
    return best


def usable_cores() -> int:
    """Cores that this process may use; all cores on systems without affinity (macOS)."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 … up to the number of cores, included."""
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent < cores]
    return [*powers, cores]


def _seconds_per_step(stepper: Stepper) -> float:
    """The fastest of a few decode steps. The first one, which starts threads and fills caches, is not measured."""
    stepper.prefill([0] * 8, lambda _done, _total: True)
    stepper.step(0)
    end = time.perf_counter() + _SECONDS
    fastest = float("inf")
    while True:
        start = time.perf_counter()
        stepper.step(0)
        now = time.perf_counter()
        fastest = min(fastest, now - start)
        if now > end:
            return fastest
