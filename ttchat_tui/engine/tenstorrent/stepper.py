"""`decode.Stepper` over a `CardModel`: row 0 of the batch, the others idle."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decode import PrefillAborted
from ttchat_tui.engine.tenstorrent.adapter import IDLE, CardModel


class CardStepper:
    """Prefills every prompt whole: only the newest upstream can start behind a cached prefix (`kv_reuse`)."""

    def __init__(self, model: CardModel) -> None:
        self._model = model
        self._position = 0
        self._is_first = True

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        """All of `ids` in one call: the card's own chunks give no progress, and a call cannot be broken off."""
        logits = self._model.prefill([ids])[0]
        self._position, self._is_first = len(ids), True
        if not report(len(ids), len(ids)):
            raise PrefillAborted
        return logits

    def step(self, token_id: int) -> NDArray[np.float32]:
        idle = self._model.batch - 1
        logits = self._model.decode(
            [token_id] + [0] * idle, [self._position] + [IDLE] * idle, is_first=self._is_first
        )
        self._position += 1
        self._is_first = False
        return logits[0]
