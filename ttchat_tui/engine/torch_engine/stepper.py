"""`decode.Stepper` over `DecoderModel`: one KV cache, fed with ids, and the ids that it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.decode import PrefillAborted
from ttchat_tui.engine.torch_engine.model import DecoderModel

CHUNK: Final = 256
"""Prompt tokens in one forward: long enough for the matrix products, short enough for progress and cancel."""


class TorchStepper:
    """Keeps the longest common prefix of what the cache holds and what is asked for."""

    def __init__(self, model: DecoderModel, chunk: int = CHUNK) -> None:
        self._model = model
        self._cache = model.new_cache()
        self._chunk = chunk
        self._ids: list[int] = []

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return common_prefix(self._ids, ids)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._keep(self.cached_prefix(ids))
        total = len(ids)
        while True:
            done = len(self._ids)
            hidden = self._forward(ids[done : done + self._chunk])
            done = len(self._ids)
            if not report(done, total):
                raise PrefillAborted
            if done == total:
                return self._logits(hidden)

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self._logits(self._forward((token_id,)))

    def step_many(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append `ids` in one forward; logits after each, float32 [len(ids), vocab], valid until the next call."""
        logits: Any = self._model.logits(self._forward(ids)).numpy()
        return logits

    def crop(self, length: int) -> None:
        """Forget all positions from `length` on."""
        self._keep(length)

    def reset(self) -> None:
        """Forget all positions."""
        self._keep(0)

    def _keep(self, length: int) -> None:
        del self._ids[length:]
        self._cache.length = length

    def _forward(self, ids: Sequence[int]) -> torch.Tensor:
        hidden = self._model.forward(torch.tensor(ids), self._cache)
        self._ids.extend(ids)
        return hidden

    def _logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        """After the last row only: the head is as dear as ten layers."""
        logits: Any = self._model.logits(hidden[-1:])[0].numpy()  # Shares the tensor's memory.
        return logits


def common_prefix(held: Sequence[int], ids: Sequence[int]) -> int:
    """Leading ids that both share, at most `len(ids) - 1`: the last one must be computed to give logits."""
    limit = min(len(held), len(ids) - 1)
    return next((index for index in range(limit) if held[index] != ids[index]), max(limit, 0))
