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
            probability = math.exp(token.logprob)
            unsure = (1 + self.limit) / 2
            return "doubtful" if probability < self.limit else "unsure" if probability < unsure else "plain"
        if token.entropy is None:
            return "unknown"
        return (
            "doubtful"
            if token.entropy > self.limit
            else "unsure"
            if token.entropy > self.limit / 2
            else "plain"
        )

    def moved(self, steps: int) -> Doubt:
        """With a limit that is `steps` steps higher."""
        low, high = _LIMITS[self.measure]
        limit = round(self.limit + steps * _STEPS[self.measure], 2)
        return self._replace(limit=min(max(limit, low), high))

    @property
    def words(self) -> str:
        """`p < 50 %`, `entropy > 1.5`."""
        return f"p < {self.limit:.0%}" if self.measure == "probability" else f"entropy > {self.limit:g} nats"

    @property
    def unsure_words(self) -> str:
        """As `words`, of what is unsure only."""
        if self.measure == "probability":
            return f"< {(1 + self.limit) / 2:.0%}"
        return f"> {self.limit / 2:g}"


BY_PROBABILITY: Final = Doubt()
BY_ENTROPY: Final = Doubt("entropy", 1.5)
