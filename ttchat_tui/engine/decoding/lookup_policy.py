"""Draft length: the one that pays most, by how often guesses were right and what rows cost."""

from __future__ import annotations

from collections import deque
from typing import Final

DRAFTS: Final = (1, 3, 7, 15)
"""Lengths of a draft. With the sampled id they make 2, 4, 8 or 16 rows: kernels work in such blocks, and a few sizes are
each measured often."""
_PRIOR: Final = (0.0, 0.0, 0.25, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8)
"""Chance that a guess is right, by the number of matching ids before it, until this model has its own figures."""
_LEARN: Final = 0.06
"""Weight of each new guess: about the last 15 count."""
_ROW_COST: Final = 0.15
"""Cost of a further row, as a share of a step, until it is measured (float16 weights on two Zen 4 cores: 0.13)."""
_SAMPLES: Final = 8
_STALE: Final = 256
"""Forwards after which a time expires: the machine may have been busy when it was measured."""


class DraftPolicy:
    """Chooses the draft length that gives the most tokens per second.

    Guesses are scored whether they are drafted or not, which is free: text without repetition turns drafting off, text
    with repetition turns it on again. Costs are ratios of the fastest recent times.
    """

    def __init__(self, max_rows: int = 1 + DRAFTS[-1]) -> None:
        """A forward has at most `max_rows` rows, including that of the sampled id."""
        self._lengths = [length for length in DRAFTS if length < max_rows]
        self._chance = list(_PRIOR)
        self._times_s: dict[int, deque[float]] = {}
        """Number of rows → seconds of the last forwards with that many."""
        self._measured_at: dict[int, int] = {}
        self._forwards = 0

    def record_guess(self, match: int, is_right: bool) -> None:
        """Count a guess after `match` matching ids as right or wrong."""
        place = min(match, len(self._chance) - 1)
        self._chance[place] += _LEARN * (is_right - self._chance[place])

    def record_forward(self, rows: int, seconds: float) -> None:
        """Count a forward of `rows` rows that took `seconds`."""
        self._forwards += 1
        if self._is_stale(rows):
            self._times_s[rows] = deque(maxlen=_SAMPLES)
        self._times_s[rows].append(seconds)
        self._measured_at[rows] = self._forwards

    def draft_length(self, match: int) -> int:
        """How many ids to draft after `match` matching ids; 0 if no draft pays off."""
        if not match:
            return 0
        best, best_rate = 0, 1.0
        tokens = chance = 1.0
        drafted = 0
        for length in self._lengths:
            while drafted < length:
                chance *= self._chance[min(match + drafted, len(self._chance) - 1)]
                tokens += chance
                drafted += 1
            rate = tokens / self._cost(1 + length)
            if rate > best_rate:
                best, best_rate = length, rate
        return best

    def _cost(self, rows: int) -> float:
        """Cost of a forward of `rows` rows, in forwards of one row."""
        if 1 not in self._times_s or self._is_stale(rows):
            return 1.0 + _ROW_COST * (rows - 1)
        return min(self._times_s[rows]) / min(self._times_s[1])

    def _is_stale(self, rows: int) -> bool:
        return self._forwards - self._measured_at.get(rows, -_STALE) >= _STALE
