"""Draft length: the one that pays most, by how often guesses were right and what rows cost."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final

DRAFTS: Final = (1, 2, 3, 5, 7, 15)
"""Lengths of a draft. A few sizes are each measured often."""
_PRIOR: Final = (0.0, 0.2, 0.25, 0.45, 0.55, 0.65, 0.7, 0.75, 0.8)
"""Chance that a guess is right, by the number of matching ids before it, until this model has its own figures."""
_LEARN: Final = 0.06
"""Weight of each new guess: about the last 15 count."""
_ROW_COST: Final = 0.15
"""Cost of a further row, as a share of a step, until it is measured (float16 weights on two Zen 4 cores: 0.13)."""
_LEAST_GAIN: Final = 1.1
"""Tokens for the time of one that a draft must promise: the fastest times and the luck of the last guesses flatter it."""
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
        self._fastest_s: dict[int, float] = {}
        self._measured_at: dict[int, int] = {}
        self._forwards = 0
        self._costs: list[float] | None = None
        """Of each of `_lengths`, in forwards of one row; None: a time has changed. Few do, and it takes longer than all else."""
        self._expires = 0
        """Number of the forward after which the first time expires."""

    def record_guess(self, match: int, is_right: bool) -> None:
        """Count a guess after `match` matching ids as right or wrong."""
        place = min(match, len(self._chance) - 1)
        self._chance[place] += _LEARN * (is_right - self._chance[place])

    def record_forward(self, rows: int, seconds: float, forwards: int = 1) -> None:
        """Count a forward of `rows` rows that took `seconds`, the last of so many."""
        self._forwards += forwards
        if self._forwards - self._measured_at.get(rows, -_STALE) >= _STALE:
            self._times_s[rows] = deque(maxlen=_SAMPLES)
        times = self._times_s[rows]
        times.append(seconds)
        self._measured_at[rows] = self._forwards
        fastest = min(times)
        if fastest != self._fastest_s.get(rows) or self._forwards >= self._expires:
            self._fastest_s[rows] = fastest
            self._costs = None

    def draft_length(self, match: int) -> int:
        """How many ids to draft after `match` matching ids; 0 if no draft pays off, or it is not known what a forward of one row
        takes."""
        if self._costs is None:
            self._costs = self._new_costs()
        if not match or not self._costs:
            return 0
        chances, last = self._chance, len(self._chance) - 1
        best, best_rate, drafted = 0, _LEAST_GAIN, 0
        tokens = chance = 1.0
        for length, cost in zip(self._lengths, self._costs, strict=True):
            while drafted < length:
                chance *= chances[min(match + drafted, last)]
                tokens += chance
                drafted += 1
            if tokens > best_rate * cost:
                best, best_rate = length, tokens / cost
            elif tokens + chance * (self._lengths[-1] - length) <= best_rate * cost:
                break  # Longer drafts cost no less, and a guess is no more likely after more of them.
        return best

    def _new_costs(self) -> list[float]:
        """Empty: it is not known what a forward of one row takes."""
        at = self._measured_at
        for rows in [rows for rows in at if self._forwards - at[rows] >= _STALE]:
            del at[rows], self._times_s[rows], self._fastest_s[rows]
        self._expires = min(at.values(), default=0) + _STALE
        known = self._fastest_s
        return [_cost(1 + length, known) for length in self._lengths] if 1 in known else []


def _cost(rows: int, known: Mapping[int, float]) -> float:
    """Cost of a forward of `rows` rows, in forwards of one row.

    Args:
        known: number of rows → seconds of a forward, for 1 and others. A number that is missing lies on the line between its
            neighbours, or on that through 1 and the largest.
    """
    below = max(size for size in known if size <= rows)
    above = min((size for size in known if size >= rows), default=0)
    cost = known[below] / known[1]
    if above > below:
        return cost + (known[above] / known[1] - cost) * (rows - below) / (above - below)
    return cost + (rows - below) * (_ROW_COST if below == 1 else (cost - 1.0) / (below - 1))
