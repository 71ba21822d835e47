"""Logit bias as the sampler applies it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.logit_bias import BAN
from ttchat_tui.engine.text.bias_ids import BiasIds


class TokenBias(NamedTuple):
    ids: NDArray[np.intp]
    """Ascending."""
    amounts: NDArray[np.float32]
    """Added to their logits; -inf bans a token."""

    @property
    def banned(self) -> NDArray[np.intp]:
        """Ascending."""
        return self.ids[self.amounts == -np.inf] if len(self.ids) else self.ids

    def within(self, vocab_size: int) -> TokenBias:
        """Without ids that the model cannot produce."""
        if not len(self.ids) or self.ids[-1] < vocab_size:
            return self
        end = int(self.ids.searchsorted(vocab_size))
        return TokenBias(self.ids[:end], self.amounts[:end])


NO_BIAS: Final = TokenBias(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32))


class BiasTable:
    """Remembers the last bias, since each token of a reply asks for it."""

    def __init__(self, ids: BiasIds, suppressed: Collection[int] = ()) -> None:
        """`suppressed`: tokens that are banned unless the user biases them."""
        self._ids = ids
        self._suppressed = dict.fromkeys(suppressed, BAN)
        self._last: tuple[Mapping[str, float], TokenBias, tuple[str, ...]] = (
            {},
            _token_bias(self._suppressed),
            (),
        )

    def find(self, bias: Mapping[str, float]) -> tuple[TokenBias, tuple[str, ...]]:
        """The tokens, and a sentence for each text that is not one token, which has no effect."""
        if bias is not self._last[0]:
            amounts, problems = self._ids.find(bias)
            self._last = (bias, _token_bias(self._suppressed | amounts), problems)
        return self._last[1:]


def _token_bias(amounts: Mapping[int, float]) -> TokenBias:
    if not amounts:
        return NO_BIAS
    ids = sorted(amounts)
    drawn = [-np.inf if amounts[each] <= BAN else amounts[each] for each in ids]
    return TokenBias(np.array(ids, dtype=np.intp), np.array(drawn, dtype=np.float32))
