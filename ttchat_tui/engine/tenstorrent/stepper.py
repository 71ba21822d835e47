"""`decode.Stepper` and `batch_decode.BatchStepper` over a `CardModel`, whose decode always runs all of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decode import PrefillAborted
from ttchat_tui.engine.tenstorrent.adapter import IDLE, CardModel
from ttchat_tui.engine.tenstorrent.errors import explained


class CardStepper:
    """Row 0 for a single reply, as many rows as there are candidates for a batch; the rest is idle.

    Every prompt is prefilled whole: most generations cannot start behind a cached prefix.
    """

    def __init__(self, model: CardModel) -> None:
        self._model = model
        self._prompt: list[int] = []
        self._positions = [IDLE] * model.batch
        self._live: list[int] = []
        """Numbers of the rows in use, in order."""
        self._is_first = True

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        """All of `ids` in one call: the card's own chunks give no progress, and a call cannot be broken off."""
        with explained():
            logits = self._model.prefill([ids], first_row=0)[0]
        self._prompt = list(ids)
        self._use_rows(1)
        if not report(len(ids), len(ids)):
            raise PrefillAborted
        return logits

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self.step_rows([token_id])[0]

    def fork(self, rows: int) -> None:
        """Give the other rows pages of their own with the prompt in them: pages are not shared.

        One row after the other: a pass of several would be a shape that was not compiled before the trace, and from
        S5 on such a pass holds the slots from 0 on only.
        """
        with explained():
            for row in range(1, rows):
                self._model.prefill([self._prompt], first_row=row)
        self._use_rows(rows)

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        tokens = [0] * self._model.batch
        for row, token_id in zip(self._live, ids, strict=True):
            tokens[row] = token_id
        with explained():
            logits = self._model.decode(tokens, self._positions, is_first=self._is_first)
        self._is_first = False
        for row in self._live:
            self._positions[row] += 1
        return logits if len(self._live) == len(logits) else logits[self._live]

    def freeze(self, row: int) -> None:
        """An idle row writes nothing; to be left out, its position has to reach the card."""
        self._live.remove(row)
        self._positions[row] = IDLE
        self._is_first = True

    def join(self) -> None:
        """The next prompt is prefilled anew."""
        self._use_rows(0)

    def _use_rows(self, rows: int) -> None:
        self._live = list(range(rows))
        self._positions = [len(self._prompt)] * rows + [IDLE] * (self._model.batch - rows)
        self._is_first = True
