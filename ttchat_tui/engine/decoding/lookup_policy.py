"""How many ids to draft: as many as pay, by what drafts have been worth and what their rows have cost."""

from __future__ import annotations

from collections import deque
from typing import Final

DRAFTS: Final = (1, 3, 7, 15)
"""Lengths of a draft. With the id that was sampled that makes 2, 4, 8 or 16 rows: kernels work in such blocks, and
few sizes are measured often."""
_PRIOR: Final = (0.0, 0.0, 0.25, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8)
"""Chance that a guess is right by the ids that agree before it, until this model has shown its own."""
_LEARN: Final = 0.06
"""Weight of one more guess: the last 15 or so count."""
_ROW_COST: Final = 0.15
"""A further row costs so much of a step, until it is measured (float16 weights on two Zen 4 cores: 0.13)."""
_SAMPLES: Final = 8
_STALE: Final = 256
"""Forwards after which a time is not believed any more: what was slow beside another program may have become fast."""


class DraftPolicy:
    """Chooses the length of a draft that gives the most tokens a second.

    Guesses are scored whether they are drafted or not, which costs nothing: text that does not repeat turns drafting
    off, text that does turns it on again. Costs are ratios of the fastest of the last times.
    """

    def __init__(self, max_rows: int = 1 + DRAFTS[-1]) -> None:
        """A forward has `max_rows` at most, the sampled id's included."""
        self._lengths = [length for length in DRAFTS if length < max_rows]
        self._chance = list(_PRIOR)
        self._times_s: dict[int, deque[float]] = {}
        """Rows → seconds of the last forwards of so many rows."""
        self._measured_at: dict[int, int] = {}
        self._forwards = 0

    def record_guess(self, match: int, is_right: bool) -> None:
        """The guess after `match` agreeing ids was the next id, or not."""
        place = min(match, len(self._chance) - 1)
        self._chance[place] += _LEARN * (is_right - self._chance[place])

    def record_forward(self, rows: int, seconds: float) -> None:
        """A forward of so many rows took `seconds`."""
        self._forwards += 1
        if self._is_stale(rows):
            self._times_s[rows] = deque(maxlen=_SAMPLES)
        self._times_s[rows].append(seconds)
        self._measured_at[rows] = self._forwards

    def draft_length(self, match: int) -> int:
        """How many ids to draft after `match` agreeing ids; 0 when none pays."""
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
        """What a forward of so many rows costs, in forwards of one row."""
        if 1 not in self._times_s or self._is_stale(rows):
            return 1.0 + _ROW_COST * (rows - 1)
        return min(self._times_s[rows]) / min(self._times_s[1])

    def _is_stale(self, rows: int) -> bool:
        return self._forwards - self._measured_at.get(rows, -_STALE) >= _STALE
