"""Logit bias as the sampler applies it: the texts of `SamplingParams.logit_bias` as token ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.logit_bias import BAN, shown_text, text_of
from ttchat_tui.engine.base import EngineError


class NoSingleToken(EngineError):
    """A text of the logit bias is not one token of this model."""

    kind = "logit_bias"


class TokenBias(NamedTuple):
    ids: NDArray[np.intp]
    """Ascending."""
    amounts: NDArray[np.float32]
    """Added to their logits; -inf bans a token."""

    @property
    def banned(self) -> NDArray[np.intp]:
        """Ascending."""
        return self.ids[self.amounts == -np.inf]

    def within(self, vocab_size: int) -> TokenBias:
        """Without ids that the model cannot produce."""
        end = int(np.searchsorted(self.ids, vocab_size))
        return self if end == len(self.ids) else TokenBias(self.ids[:end], self.amounts[:end])


NO_BIAS: Final = TokenBias(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32))


class BiasTable:
    """Finds the tokens of a bias. It remembers the last one, since each token of a reply asks for it."""

    def __init__(
        self,
        ids_of: Callable[[str], Sequence[int]],
        split: Callable[[str], Sequence[int]],
        piece_of: Callable[[int], bytes],
    ) -> None:
        """
        Args:
            ids_of: the tokens whose text is exactly this; usually one, none if a text takes several.
            split: the tokens that a text is written with.
            piece_of: the bytes of a token.
        """
        self._ids_of = ids_of
        self._split = split
        self._piece_of = piece_of
        self._last: tuple[Mapping[str, float], TokenBias, tuple[str, ...]] = ({}, NO_BIAS, ())

    def find(self, bias: Mapping[str, float]) -> tuple[TokenBias, tuple[str, ...]]:
        """The tokens, and a sentence for each text that is not one token, which has no effect."""
        if bias is not self._last[0]:
            self._last = (bias, *self._found(bias))
        return self._last[1:]

    def require(self, bias: Mapping[str, float]) -> None:
        """Raises NoSingleToken, which names every text that is not one token."""
        if problems := self.find(bias)[1]:
            raise NoSingleToken(
                " ".join(problems),
                "A bias is for one token: give its exact text, space included, or take it out (/unban, [sampling] logit_bias).",
            )

    def _found(self, bias: Mapping[str, float]) -> tuple[TokenBias, tuple[str, ...]]:
        amounts, problems = dict[int, float](), list[str]()
        for text, amount in bias.items():
            ids = self._ids_of(text)
            amounts |= dict.fromkeys(ids, -np.inf if amount <= BAN else amount)
            if not ids:
                problems.append(self._problem(text))
        if not amounts:
            return NO_BIAS, tuple(problems)
        ids = sorted(amounts)
        found = TokenBias(
            np.array(ids, dtype=np.intp), np.array([amounts[each] for each in ids], dtype=np.float32)
        )
        return found, tuple(problems)

    def _problem(self, text: str) -> str:
        parts = [shown_text(text_of(self._piece_of(each))) for each in self._split(text)]
        if len(parts) < 2:  # bytes, or a text that the tokenizer changes
            return f"The model has no token {shown_text(text)}."
        return f"{shown_text(text)} is {len(parts)} tokens of this model: {' '.join(parts)}."
