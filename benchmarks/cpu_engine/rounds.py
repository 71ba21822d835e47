"""Rounds in which contenders take turns, and their medians and medians of ratios within a round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from benchmarks.foreign_load import ForeignLoad

Figures: TypeAlias = dict[str, float]
"""The figures of one turn, by name."""
Turn: TypeAlias = tuple[str, Callable[[], Figures]]
"""A contender's name, and its work in a turn."""

QUIET_CORES = 0.05
"""A round counts if other programs used less than this on average; set before anything was measured."""
PAUSE_S = 0.03
"""Between turns: OpenMP's threads spin for some milliseconds after their work."""


class Rounds:
    """The figures of all rounds in order, disturbed ones included."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Figures]] = []
        self.foreign: list[float] = []

    def run(self, turns: Sequence[Turn], pids: set[int], count: int, end_s: float) -> Rounds:
        """Run until there are `count` quiet rounds or the monotonic clock reaches `end_s`, but at least one round.

        The order changes every round.
        """
        for _, turn in turns:
            turn()  # warm-up, not counted
        while not self.figures or (len(self._quiet()) < count and time.monotonic() < end_s):
            shift = len(self.figures) % len(turns)
            load = ForeignLoad(pids)
            found: dict[str, Figures] = {}
            for name, turn in (*turns[shift:], *turns[:shift]):
                time.sleep(PAUSE_S)
                found[name] = turn()
            self.figures.append(found)
            self.foreign.append(load.share())
        return self

    def median(self, name: str, figure: str) -> float:
        return statistics.median(self._of(name, figure))

    def ratio(self, figure: str, over: str, under: str) -> dict[str, Any]:
        """Median of `over`'s figure by `under`'s in the same round, with quartiles."""
        pairs = zip(self._of(over, figure), self._of(under, figure), strict=True)
        ratios = sorted(above / below for above, below in pairs)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return {"ratio": statistics.median(ratios), "quartiles": [low, high], "rounds": len(ratios)}

    def record(self) -> dict[str, Any]:
        return {"figures": self.figures, "foreign_cores": [round(share, 3) for share in self.foreign]}

    @property
    def counted(self) -> str:
        """The rounds that the figures use."""
        quiet, every = len(self._quiet()), len(self.figures)
        return f"{quiet} quiet rounds" if self._enough() else f"all {every} rounds, {quiet} of them quiet"

    def _of(self, name: str, figure: str) -> list[float]:
        rounds = self._quiet() if self._enough() else self.figures
        return [found[name][figure] for found in rounds]

    def _quiet(self) -> list[dict[str, Figures]]:
        pairs = zip(self.figures, self.foreign, strict=True)
        return [found for found, foreign in pairs if foreign < QUIET_CORES]

    def _enough(self) -> bool:
        """Only quiet rounds count if they are at least five and at least half of all."""
        return len(self._quiet()) >= max(5, len(self.figures) / 2)


def speed(answer: dict[str, Any]) -> Figures:
    """Seconds to the first token, and the decode rate from the second token on."""
    times = answer["times_s"]
    figures = {"ttft_s": times[0]}
    if len(times) > 2:
        figures["decode_tps"] = (len(times) - 2) / (times[-1] - times[1])
    return figures
