"""When a token counts as doubtful, and how its text is tinted."""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, TypeAlias

from ttchat_tui.domain.recording import RecordedToken

Measure: TypeAlias = Literal["probability", "entropy"]

Tint: TypeAlias = Literal["plain", "unsure", "doubtful", "unknown"]
"""unsure: half as doubtful as the limit. unknown: the token has no such figure."""

_LIMITS: Final = {"probability": (0.05, 0.95), "entropy": (0.25, 6.0)}
_STEPS: Final = {"probability": 0.05, "entropy": 0.25}


class Doubt(NamedTuple):
    """A token is doubtful if it was less probable than the limit, or if the entropy was above it."""

    measure: Measure = "probability"
    limit: float = 0.5
    """A probability, or nats."""

    def tint_of(self, token: RecordedToken) -> Tint:
        if self.measure == "probability":
            if token.logprob is None:
                return "unknown"
            probability = round(math.exp(token.logprob), 6)  # stored as float32
            is_doubtful, is_unsure = probability < self.limit, probability < _unsure_from(self)
        else:
            if token.entropy is None:
                return "unknown"
            is_doubtful, is_unsure = token.entropy > self.limit, token.entropy > _unsure_from(self)
        return "doubtful" if is_doubtful else "unsure" if is_unsure else "plain"

    def moved(self, steps: int) -> Doubt:
        """With a limit that is `steps` steps higher."""
        low, high = _LIMITS[self.measure]
        limit = round(self.limit + steps * _STEPS[self.measure], 2)
        return self._replace(limit=min(max(limit, low), high))

    @property
    def words(self) -> str:
        """`below 50 %`, `above 1.5 nats`."""
        return _words(self.measure, self.limit)

    @property
    def unsure_words(self) -> str:
        """As `words`, of what is at least unsure."""
        return _words(self.measure, _unsure_from(self))


def _unsure_from(doubt: Doubt) -> float:
    return (1 + doubt.limit) / 2 if doubt.measure == "probability" else doubt.limit / 2


def _words(measure: Measure, limit: float) -> str:
    return f"below {limit:.0%}" if measure == "probability" else f"above {limit:.2f} nats"


BY_PROBABILITY: Final = Doubt()
BY_ENTROPY: Final = Doubt("entropy", 1.5)
