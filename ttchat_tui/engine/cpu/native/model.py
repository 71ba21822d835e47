"""The forward pass of `forward/model.py` by the compiled kernel, without torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import CacheFormat, KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.step import NativeStep
from ttchat_tui.engine.cpu.native.weights import NativeWeights


class NativeModel:
    """A `Model`. A row gives the same bits alone and among others."""

    rounds_activations = False

    def __init__(
        self,
        config: ModelConfig,
        weights: NativeWeights,
        rope: RopeTable,
        library: Library,
        cache_format: CacheFormat,
    ) -> None:
        self.config = config
        self._weights = weights
        self._rope = rope
        self._library = library
        self._cache_format = cache_format
        self._step = NativeStep(library, config, weights.layers)

    def new_cache(self) -> KVCache:
        return KVCache(self.config.layers, self.config.kv_heads, self.config.head_size, self._cache_format)

    def forward(
        self, ids: Sequence[int], kv: KVCache | KVFork, outputs: int | None = None
    ) -> NDArray[np.float32]:
        rows = len(ids)
        outputs = rows if outputs is None else outputs
        kv.reserve(rows)
        x = self._weights.embed.rows(ids)
        if self.config.embedding_scale != 1.0:
            x *= np.float32(self.config.embedding_scale)
        self._step.run(x, outputs, self._rope.rotations(kv.next_positions(rows), is_long=kv.is_long), kv)
        kv.advance(rows)
        return x[rows - outputs :]

    def logits(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        weights, config = self._weights, self.config
        logits = self._library.run_head(
            weights.head.matrix, weights.norm, config.norm_eps, hidden, config.vocab_size
        )
        cap = np.float32(config.logit_cap)
        return np.tanh(logits / cap) * cap if cap else logits
