"""First steps of a loaded model: touch every kernel, and find how many threads decode fastest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final

import torch

from ttchat_tui.engine.decoding.loop import Stepper

_SECONDS: Final = 0.12
"""Time given to each number of threads."""
_GAIN: Final = 0.95
"""More threads must be at least 5 % faster: each one is a core that the rest of the machine does not have."""


def warm_up(
    stepper: Stepper,
    threads: int,
    report: Callable[[int, int], None],
    set_threads: Callable[[int], None] = torch.set_num_threads,
) -> int:
    """Run a short prompt and a few steps; `report(done, total)` may raise.

    Args:
        threads: 0 measures 1, 2, 4 … up to all cores and keeps the best; else that many are used.
    Returns:
        The number of threads that `set_threads` was told last.
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
    """Cores that this process may run on; where the system does not say (macOS), all."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 … and the number of cores itself."""
    powers = [1 << exponent for exponent in range(cores.bit_length()) if 1 << exponent < cores]
    return [*powers, cores]


def _seconds_per_step(stepper: Stepper) -> float:
    """The fastest of a few decode steps; the first, which starts threads and fills caches, is not measured."""
    stepper.prefill(range(8), lambda _done, _total: True)
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
