"""The forward of the Llama family: Llama 2 and 3, SmolLM2, Mistral, Qwen2, Qwen2.5, Qwen3 (dense).

At one row (decode) a call costs as much as what it computes, so that there are few of them: a dot product instead of
`rms_norm` (10 µs × 61 a token), two `bmm` instead of scaled_dot_product_attention, sums in place, and one buffer for q,
k and v whose views are made once (`RowSpace`); over 4-bit layers `one_row` takes that step as one call. The residual
stream is float32 whatever the weights are held in; a matrix is given the type that it computes with.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.one_row import one_row_of
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.step import CACHE_TYPE, native_step_of
from ttchat_tui.engine.cpu.weights.weights import LayerWeights, Weights

FEW_ROWS: Final = 16
"""Up to here attention is two `bmm` over the cache, beyond it the flash kernel, which is made for blocks of queries. Only
one row was measured (25 µs against 30 at 128 positions, 353 against 367 at 2,000): the limit itself is a guess."""


class DecoderModel:
    """Ids in, logits out; the cache holds everything that lasts."""

    def __init__(
        self, config: ModelConfig, weights: Weights, rope: RopeTable, library: Library | None = None
    ) -> None:
        """`library` runs all layers where the weights are in its formats."""
        self.config = config
        self.weights = weights
        self.rope = rope
        self._space = RowSpace(config)
        self._zero = torch.zeros(1, config.hidden_size)
        self.native = native_step_of(library, config, weights.layers)
        """All layers in one call; None where there is no compiled kernel for these weights."""
        self._one_row = one_row_of(config, weights.layers)

    def new_cache(self) -> KVCache:
        dtype = torch.float32 if self.native is None else CACHE_TYPE
        return KVCache(self.config.layers, self.config.kv_heads, self.config.head_size, dtype)

    @torch.inference_mode()
    def forward(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """Run `ids` [rows] at the positions after `cache.length`, add them to the cache.

        Returns:
            The hidden state after each id, float32 [rows, hidden]; `logits` takes any of its rows.
        """
        rows = ids.shape[0]
        cache.reserve(cache.length + rows)
        x = functional.embedding(ids, self.weights.embed).float()
        turns = self.rope.turns(cache.length, rows)
        if self.native is not None:
            self.native.run(x, turns, cache)
        elif rows == 1 and self._one_row is not None:
            layers = [cache.layer(index) for index in range(cache.layers)]
            self._one_row(x, turns, cache.length, layers)
        else:
            self._run_layers(x, turns, cache)
        cache.length += rows
        return x

    def _run_layers(self, x: torch.Tensor, turns: torch.Tensor, cache: KVCache) -> None:
        """All layers on x float32 [rows, hidden], in place."""
        rows = x.shape[0]
        masks = self._masks(cache.length, rows)
        for index, layer in enumerate(self.weights.layers):
            qkv = layer.qkv(self._norm(x, layer.attn_norm).to(layer.qkv.dtype))
            if rows == 1:
                attended = self._attend_one(index, layer, qkv, turns, cache)
            else:
                attended = self._attend_many(index, layer, qkv, turns, cache, masks[layer.window])
            x.add_(layer.o(attended.to(layer.o.dtype)))
            gate_up = layer.gate_up(self._norm(x, layer.ffn_norm).to(layer.gate_up.dtype))
            gate, up = gate_up.chunk(2, dim=-1)
            x.add_(layer.down(functional.silu(gate).mul_(up)))

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [rows, vocab] for hidden states [rows, hidden]."""
        return self.weights.head(hidden * _rms_scale(hidden, self.config.norm_eps))

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm (Zhang and Sennrich 2019) over the last axis of float32 [rows, hidden]."""
        if x.shape[0] > 1:
            return (x * _rms_scale(x, self.config.norm_eps)).mul_(weight)
        row = x.view(-1)
        scale = 1.0 / math.sqrt(torch.dot(row, row).item() / row.shape[0] + self.config.norm_eps)
        return torch.addcmul(self._zero, x, weight, value=scale)

    def _attend_one(
        self, index: int, layer: LayerWeights, qkv: torch.Tensor, turns: torch.Tensor, cache: KVCache
    ) -> torch.Tensor:
        """Attention of one new row over the cache and itself: qkv [1, outputs] → [1, heads * head_size]."""
        space = self._space
        space.qkv.copy_(qkv)
        if layer.qk_norm is not None:
            _norm_heads(space.rotated, layer.qk_norm, self.config.norm_eps)
        space.pairs.mul_(turns)
        keys, values = cache.store(index, space.new)
        positions = keys.shape[1]
        if 0 < layer.window < positions:
            keys = keys.narrow(1, positions - layer.window, layer.window)
            values = values.narrow(1, positions - layer.window, layer.window)
        weights = torch.bmm(space.grouped, keys.transpose(1, 2)).softmax(-1)
        return torch.bmm(weights, values).view(1, -1)

    def _attend_many(
        self,
        index: int,
        layer: LayerWeights,
        qkv: torch.Tensor,
        turns: torch.Tensor,
        cache: KVCache,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """The same for several rows, each over what `mask` [rows, positions] leaves it."""
        config, rows = self.config, qkv.shape[0]
        rotated = config.heads + config.kv_heads
        heads = qkv.float().view(rows, rotated + config.kv_heads, config.head_size)
        if layer.qk_norm is not None:
            _norm_heads(heads.narrow(1, 0, rotated), layer.qk_norm, config.norm_eps)
        pairs = torch.view_as_complex(heads.view(rows, -1, config.head_size // 2, 2))
        pairs.narrow(1, 0, rotated).mul_(turns)
        keys, values = cache.store(index, heads.narrow(1, config.heads, 2 * config.kv_heads))
        q = heads.narrow(1, 0, config.heads).transpose(0, 1)
        if rows <= FEW_ROWS:
            return _attend_few(q, keys, values, mask)
        # The scale is in q's weights already.
        attended = functional.scaled_dot_product_attention(
            q[None], keys[None], values[None], attn_mask=mask, scale=1.0, enable_gqa=True
        )
        return attended[0].transpose(0, 1).reshape(rows, -1)

    def _masks(self, start: int, rows: int) -> dict[int, torch.Tensor]:
        """For each window among the layers, what is added to the scores of rows from `start` on: 0, or -inf for
        positions that a row does not see. float32 [rows, start + rows]. One row needs none."""
        if rows == 1:
            return {}
        return {
            window: _mask(start, rows, window) for window in {layer.window for layer in self.weights.layers}
        }


class RowSpace:
    """q, k and v of one row, float32, and the views of them that every layer takes."""

    def __init__(self, config: ModelConfig) -> None:
        rotated = config.heads + config.kv_heads
        self.qkv = torch.empty(1, (rotated + config.kv_heads) * config.head_size)
        heads = self.qkv.view(1, -1, config.head_size)
        self.rotated = heads.narrow(1, 0, rotated)
        """q and k, [1, heads + kv_heads, head_size]."""
        self.pairs = torch.view_as_complex(self.rotated.view(1, rotated, -1, 2))
        self.grouped = heads.narrow(1, 0, config.heads).view(config.kv_heads, -1, config.head_size)
        """q: the heads that share a key-value head are the rows of one product."""
        self.new = heads.narrow(1, config.heads, 2 * config.kv_heads)
        """k and v, as `KVCache.store` takes them."""


def _attend_few(
    q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """q [heads, rows, head_size]; rows of heads that share a key-value head are the rows of one product."""
    kv_heads, heads, rows = len(keys), q.shape[0], q.shape[1]
    repeated = mask.repeat(heads // kv_heads, 1)
    scores = torch.baddbmm(repeated, q.reshape(kv_heads, -1, q.shape[2]), keys.transpose(1, 2))
    attended = torch.bmm(scores.softmax(-1), values).view(heads, rows, -1)
    return attended.transpose(0, 1).reshape(rows, -1)


def _mask(start: int, rows: int, window: int) -> torch.Tensor:
    """Causal, within the window if there is one (0 is none)."""
    seen = torch.ones(rows, start + rows, dtype=torch.bool).tril(start)
    if window:
        seen = seen.triu(start - window + 1)
    return torch.zeros(seen.shape).masked_fill_(~seen, -math.inf)


def _rms_scale(x: torch.Tensor, eps: float) -> torch.Tensor:
    """1 / root mean square over the last axis, which is kept at size 1."""
    return torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))


def _norm_heads(heads: torch.Tensor, weight: torch.Tensor, eps: float) -> None:
    """RMSNorm over each head [rows, heads, head_size], in place (Qwen3)."""
    heads.mul_(_rms_scale(heads, eps)).mul_(weight)
