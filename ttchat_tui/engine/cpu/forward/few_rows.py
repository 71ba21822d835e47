"""A forward of a few rows that gives, bit for bit, what the rows give one by one: for drafts over 4-bit weights.

There activations are rounded to bfloat16 before each matrix. A difference of 1e-7 in front of that, from a sum in another
order, is a whole step of the rounding now and then, and logits differ by tenths: enough to choose another token where two
are near. The 4-bit kernel itself gives a row the same bits among eight rows as alone. What does not is done row by row
here, with the very calls that `DecoderModel` makes for one: the norm's dot product, and attention over the positions that
the row sees.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.weights.precision import WeightFormat
from ttchat_tui.engine.cpu.weights.weights import LayerWeights

FEW_ROWS: Final = 8
_ROWS: Final[dict[WeightFormat, int]] = {"fp32": 16, "f16": 16, "int4": FEW_ROWS}
"""float32 activations need none of this: float32's own rounding moves logits by 1e-5. Other formats have kernels that sum
otherwise for several rows."""


def rows_as_one(weights: WeightFormat) -> int:
    """How many rows may be run together so that a reply stays the same; 1 is none."""
    return _ROWS.get(weights, 1)


class FewRows:
    """Over a model's weights."""

    def __init__(self, model: DecoderModel) -> None:
        self._model = model
        layers = model.weights.layers
        self.is_needed = any(
            linear.dtype is torch.bfloat16
            for layer in layers
            for linear in (layer.qkv, layer.o, layer.gate_up, layer.down)
        )
        """Some matrix rounds its input to bfloat16."""

    @torch.inference_mode()
    def forward(self, ids: torch.Tensor, cache: KVCache) -> torch.Tensor:
        """As `DecoderModel.forward`."""
        model, rows = self._model, ids.shape[0]
        cache.reserve(cache.length + rows)
        x = functional.embedding(ids, model.weights.embed).float()
        turns = model.rope.turns(cache.length, rows)
        for index, layer in enumerate(model.weights.layers):
            qkv = layer.qkv(self._norm(x, layer.attn_norm).to(layer.qkv.dtype))
            attended = self._attend(index, layer, qkv, turns, cache)
            x.add_(layer.o(attended.to(layer.o.dtype)))
            gate_up = layer.gate_up(self._norm(x, layer.ffn_norm).to(layer.gate_up.dtype))
            gate, up = gate_up.chunk(2, dim=-1)
            x.add_(layer.down(functional.silu(gate).mul_(up)))
        cache.length += rows
        return x

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        size, eps = x.shape[1], self._model.config.norm_eps
        scales = [1.0 / math.sqrt(torch.dot(row, row).item() / size + eps) for row in x]
        return (x * torch.tensor(scales).unsqueeze(1)).mul_(weight)

    def _attend(
        self, index: int, layer: LayerWeights, qkv: torch.Tensor, turns: torch.Tensor, cache: KVCache
    ) -> torch.Tensor:
        """qkv [rows, outputs] → [rows, heads * head_size]."""
        config, rows = self._model.config, qkv.shape[0]
        rotated = config.heads + config.kv_heads
        heads = qkv.float().view(rows, rotated + config.kv_heads, config.head_size)
        qk = heads.narrow(1, 0, rotated)
        if layer.qk_norm is not None:
            scale = torch.rsqrt(qk.square().mean(-1, keepdim=True).add_(config.norm_eps))
            qk.mul_(scale).mul_(layer.qk_norm)
        torch.view_as_complex(heads.view(rows, -1, config.head_size // 2, 2)).narrow(1, 0, rotated).mul_(
            turns
        )
        keys, values = cache.store(index, heads.narrow(1, config.heads, 2 * config.kv_heads))
        attended = torch.empty(rows, config.heads * config.head_size)
        for row in range(rows):
            seen = cache.length + row + 1
            count = min(layer.window, seen) if layer.window else seen
            q = heads[row].narrow(0, 0, config.heads).view(config.kv_heads, -1, config.head_size)
            weights = torch.bmm(q, keys.narrow(1, seen - count, count).transpose(1, 2)).softmax(-1)
            attended[row] = torch.bmm(weights, values.narrow(1, seen - count, count)).view(-1)
        return attended
