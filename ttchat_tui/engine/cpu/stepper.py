"""The stepper over a model of this engine: one KV cache and the ids that it holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import common_prefix
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.decoding.loop import BatchStepper, PrefillAborted, Stepper

CHUNK: Final = 256
"""Prompt tokens per forward: enough for fast matrix products, few enough for progress and cancel."""


class Model(Protocol):
    """Token ids in, logits out. All state is in the KV cache."""

    @property
    def config(self) -> ModelConfig: ...

    @property
    def rounds_activations(self) -> bool:
        """Logits of a row depend on the rows beside it, by tenths."""
        ...

    def new_cache(self) -> KVCache: ...

    def forward(self, ids: Sequence[int], kv: KVCache | KVFork, outputs: int | None = None) -> Any:
        """Run `ids` and append their keys and values to `kv`.

        The rows are consecutive positions of a `KVCache`, or the next position of each live row of a `KVFork`.

        Returns:
            The hidden states after the last `outputs` ids (None: after each), [outputs, hidden]: an array that `logits`
            takes, or any of its rows.
        """
        ...

    def logits(self, hidden: Any) -> NDArray[np.float32]:
        """[rows, vocab] for hidden states [rows, hidden]."""
        ...


@dataclass
class _Forked:
    """The ids and the KV cache that the rows of the current or last batch added."""

    kv: KVFork
    ids: list[list[int]]
    is_joined: bool = False


class CachedStepper(Stepper, BatchStepper):
    """A `Stepper` and a `BatchStepper`.

    A prefill keeps the longest prefix that the prompt shares with the KV cache, or with any row of the last batch.
    """

    def __init__(self, model: Model, chunk: int = CHUNK) -> None:
        self.before_forward: Callable[[int], None] = lambda rows: None
        """See `GovernableStepper`."""
        self._model = model
        self._cache = model.new_cache()
        self._chunk = chunk
        self._ids: list[int] = []
        self._forked: _Forked | None = None

    def becomes_long(self, length: int) -> bool:
        """Whether keys change at some position before `length` (LongRoPE)."""
        return self._model.config.is_long(length)

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return self._longest(ids)[1]

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        row, known = self._longest(ids)
        if row is not None and self._forked is not None:
            self._forked.kv.give_back(row, known - len(self._ids))
            self._ids.extend(self._forked.ids[row])
        self._keep(known)
        total = len(ids)
        self._cache.is_long = self._model.config.is_long(total)
        # If several rows are computed in another way than one, the last id is computed alone. A prompt that is cached
        # except for its last id must give the same logits, so that the same seed gives the same reply.
        together = total - 1 if self._model.rounds_activations else total
        while True:
            done = len(self._ids)
            end = total if done >= together else min(done + self._chunk, together)
            hidden = self._forward(ids[done:end], int(end == total))
            done = len(self._ids)
            if not report(done, total):
                raise PrefillAborted
            if done == total:
                return self._model.logits(hidden)[0]

    def step(self, token_id: int) -> NDArray[np.float32]:
        self._prepare(1)
        return self._model.logits(self._forward((token_id,)))[0]

    def step_many(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append `ids` in one forward; logits after each, float32 [len(ids), vocab], valid until the next call.

        Up to `WeightPlan.draft_rows` ids give the same logits as one `step` each.
        """
        config, end = self._model.config, len(self._ids) + len(ids)
        if config.is_long(len(self._ids) + 1) != config.is_long(end):
            return np.stack([np.array(self.step(token_id)) for token_id in ids])
        self._prepare(len(ids))
        return self._model.logits(self._forward(ids))

    def fork(self, rows: int) -> None:
        self._forked = _Forked(KVFork(self._cache, rows), [[] for _ in range(rows)])

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        forked = self._in_batch()
        numbers = sorted(forked.kv.slots)
        of_row = dict(zip(numbers, ids, strict=True))
        self.before_forward(len(ids))
        hidden = self._model.forward([of_row[row] for row in forked.kv.slots], forked.kv)
        for row, token_id in of_row.items():
            forked.ids[row].append(token_id)
        slots = forked.kv.slots
        if slots != numbers:
            hidden = hidden[[slots.index(row) for row in numbers]]
        return self._model.logits(hidden)

    def freeze(self, row: int) -> None:
        self._in_batch().kv.freeze(row)

    def join(self) -> None:
        """End the batch. Its rows are kept until the next prompt, which may continue any of them."""
        self._in_batch().is_joined = True

    def crop(self, length: int) -> None:
        """Drop all positions from `length` on."""
        self._keep(length)

    def reset(self) -> None:
        """Drop all positions."""
        self._keep(0)

    def _in_batch(self) -> _Forked:
        forked = self._forked
        assert forked, "no batch runs"
        assert not forked.is_joined, "no batch runs"
        return forked

    def _longest(self, ids: Sequence[int]) -> tuple[int | None, int]:
        """The row of the last batch that holds most leading ids, and how many. None is the cache itself."""
        if self._has_other_turns(len(ids)):
            return None, 0
        row, known = None, cached_of(self._ids, ids)
        if self._forked is not None and known == len(self._ids):
            for number, tail in enumerate(self._forked.ids):
                length = cached_of((*self._ids, *tail), ids)
                if length > known:
                    row, known = number, length
        return row, known

    def _keep(self, length: int) -> None:
        self._forked = None
        del self._ids[length:]
        self._cache.length = length

    def _has_other_turns(self, length: int) -> bool:
        """Whether the cached keys are rotated otherwise than those of a conversation of `length` positions (LongRoPE)."""
        return self._cache.is_long != self._model.config.is_long(length)

    def _prepare(self, rows: int) -> None:
        """Make the cache fit for `rows` more positions: when the conversation becomes long, or short again, its keys change."""
        held = list(self._ids)
        if not self._has_other_turns(len(held) + rows):
            return
        self._keep(0)
        self._cache.is_long = not self._cache.is_long
        for start in range(0, len(held), self._chunk):
            self._forward(held[start : start + self._chunk], 0)

    def _forward(self, ids: Sequence[int], outputs: int | None = None) -> Any:
        self._forked = None
        self.before_forward(len(ids))
        hidden = self._model.forward(ids, self._cache, outputs)
        self._ids.extend(ids)
        return hidden


def cached_of(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many of `ids` need no prefill: those that `held` begins with too, but not the last one, whose logits are wanted."""
    return max(0, min(common_prefix(held, ids), len(ids) - 1))
