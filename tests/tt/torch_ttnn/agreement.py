"""Agreement of a card's reply with the reference, position by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

ROUNDING: Final = 0.15
"""Standard deviations of a position's logits. Rounding decides between tokens that are closer together than this."""


LOGPROB_ERROR: Final = 0.1
"""Bound of `Agreement.logprob_error`; rounding alone stays below 0.06 in the small models."""


class CardAgreement(msgspec.Struct, frozen=True, kw_only=True):
    positions: int
    same: int
    """Positions at which the reference finds the card's token the most likely."""
    wrong: int
    """Positions at which it finds another token more likely by more than rounding."""
    logprob_error: float
    """Largest difference of a token's log probability, in standard deviations of the position's logits."""
    is_greedy: bool = True
    """The card took the most likely tokens. If it drew them, only their probabilities count."""

    @property
    def holds(self) -> bool:
        return self.logprob_error < LOGPROB_ERROR and (self.wrong == 0 or not self.is_greedy)

    def __str__(self) -> str:
        within = f"log probabilities within {self.logprob_error:.3f}"
        if not self.is_greedy:
            return f"{self.positions} drawn, {within}"
        by_rounding = self.positions - self.same - self.wrong
        return f"{self.same}/{self.positions} same, {by_rounding} by rounding, {self.wrong} wrong, {within}"


def agreement(
    ids: Sequence[int], logits: NDArray[np.float32], logprobs: Sequence[float], *, is_greedy: bool = True
) -> CardAgreement:
    """
    Args:
        ids, logits: of `Reference.follow`.
        logprobs: the card's, of each id or of all but the last.
    """
    spread = logits.std(-1)
    chosen = logits[np.arange(len(ids)), ids]
    highest = logits.max(-1)
    behind = (highest - chosen) / spread
    expected = chosen - highest - np.log(np.exp(logits - highest[:, None]).sum(-1))
    known = len(logprobs)
    errors = np.abs(expected[:known] - np.array(logprobs)) / spread[:known]
    return CardAgreement(
        positions=len(ids),
        same=int((behind == 0).sum()),
        wrong=int((behind > ROUNDING).sum()),
        logprob_error=float(errors.max(initial=0.0)),
        is_greedy=is_greedy,
    )
