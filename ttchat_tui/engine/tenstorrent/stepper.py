"""The stepper over a `CardModel`, whose decode always runs all of its rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import ColdWork
from ttchat_tui.engine.decoding.job import LiveSampling
from ttchat_tui.engine.decoding.loop import BatchStepper, PrefillAborted
from ttchat_tui.engine.decoding.row import Drawn
from ttchat_tui.engine.tenstorrent.adapter import IDLE, CardModel
from ttchat_tui.engine.tenstorrent.card_sampling import GREEDY, DrawParameters
from ttchat_tui.engine.tenstorrent.errors import explain_errors
from ttchat_tui.engine.tenstorrent.kv_prefix import reusable_prefix


class CardStepper(BatchStepper):
    """A `BatchStepper`. A single reply uses row 0, a batch as many rows as it has; the other rows are idle."""

    def __init__(self, model: CardModel) -> None:
        self._model = model
        self.reuses_prefix = False
        """Prefill starts behind the prefix that row 0's pages hold; otherwise prompts are prefilled whole."""
        self._held: list[int] = []
        """Ids in row 0's pages, from position 0 on."""
        self._prompt: list[int] = []
        self._positions = [IDLE] * model.batch
        self._live: list[int] = []
        """Numbers of the live rows, in order."""
        self._drawn: list[int] = []
        """What the card drew in the last step, for each row: it takes those next, unless it is fed."""
        self._is_first = True
        self._card = _CardDraws(model.batch) if model.draws is not None else None

    def draw_by(self, rows: Sequence[LiveSampling]) -> None:
        """With device sampling: seed and parameters of each row of the next reply. Parameters are read in each step."""
        if self._card is not None:
            self._card.begin(rows)

    @property
    def cold_work(self) -> ColdWork:
        return self._model.work

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return reusable_prefix(self._held, ids) if self.reuses_prefix else 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        """Prefill all of `ids` in one call: the card's own chunks report no progress, and a call cannot be aborted."""
        start = self.cached_prefix(ids)
        self._held = []
        with explain_errors():
            logits = self._model.prefill([ids], first_row=0, start=start)[0]
        self._held = list(ids)
        self._prompt = list(ids)
        self._use_rows(1)
        if not report(len(ids), len(ids)):
            raise PrefillAborted
        return logits

    def step(self, token_id: int) -> NDArray[np.float32] | Drawn:
        return self.step_rows([token_id])[0]

    def fork(self, rows: int) -> None:
        """Start a batch. Pages are not shared, so the prompt is prefilled into the pages of each other row.

        One row at a time: a pass over several rows has a shape that was not compiled before the trace, and from S5 on it
        can only fill slots from 0 on.
        """
        with explain_errors():
            for row in range(1, rows):
                self._model.prefill([self._prompt], first_row=row)
        self._use_rows(rows)

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32] | list[Drawn]:
        tokens = [0] * self._model.batch
        for row, token_id in zip(self._live, ids, strict=True):
            tokens[row] = token_id
        with explain_errors():
            following = self._decode(tokens) if self._card is None else self._draw(self._card, tokens)
        self._is_first = False
        if 0 in self._live:
            self._held.append(tokens[0])
        for row in self._live:
            self._positions[row] += 1
        return following

    def freeze(self, row: int) -> None:
        """Make the row idle: it writes nothing once its position has reached the card."""
        self._live.remove(row)
        self._positions[row] = IDLE
        self._is_first = True

    def join(self) -> None:
        """End the batch. Later prompts can reuse row 0's pages, not those of the other rows."""
        self._use_rows(0)

    def forget(self) -> None:
        """Prefill the next prompt whole."""
        self._held = []

    def _decode(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        logits = self._model.decode(tokens, self._positions, is_first=self._is_first)
        return logits if len(self._live) == len(logits) else logits[self._live]

    def _draw(self, card: _CardDraws, tokens: Sequence[int]) -> list[Drawn]:
        draws = card.next(self._live, tokens, self._prompt)
        is_chosen = any(self._drawn[row] != tokens[row] for row in self._live) if self._drawn else False
        ids = self._model.draw(tokens, self._positions, draws, is_first=self._is_first or is_chosen)
        self._drawn = ids
        return [Drawn(ids[row]) for row in self._live]

    def _use_rows(self, rows: int) -> None:
        self._live = list(range(rows))
        self._positions = [len(self._prompt)] * rows + [IDLE] * (self._model.batch - rows)
        self._is_first = True
        self._drawn = []


class _CardDraws:
    """Parameters of device sampling: the current reply's, and those of the last step."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.begin(())

    def begin(self, rows: Sequence[LiveSampling]) -> None:
        """Start a reply, with seed and parameters of each of its rows."""
        self._seeds = (*(row.seed for row in rows), *([0] * (self._batch - len(rows))))
        self._samplings = rows
        self._last_sampling: tuple[SamplingParams, ...] = ()
        self._replies: list[list[int]] = [[] for _ in range(self._batch)]

    def next(self, live: Sequence[int], tokens: Sequence[int], prompt: Sequence[int]) -> DrawParameters:
        """Parameters of the step that feeds `tokens` [batch]."""
        for row in live:
            self._replies[row].append(tokens[row])
        idle = self._batch - len(self._samplings)
        sampling = (*(each.now for each in self._samplings), *([GREEDY] * idle))
        has_changed, self._last_sampling = sampling != self._last_sampling, sampling
        return DrawParameters(
            sampling=sampling,
            seeds=self._seeds,
            has_changed=has_changed,
            prompt=prompt,
            replies=self._replies,
        )
