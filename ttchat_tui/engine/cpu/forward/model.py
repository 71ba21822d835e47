"""The forward pass of Llama and of the families that `families.py` describes.

One forward serves prompts, decode steps, drafts and batches. They differ in the positions a row sees, which is up to the
attention. For the compiled kernel, `native/model.py` runs the same layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.attention import Attention, attention_over, capped
from ttchat_tui.engine.cpu.forward.feed_forward import feed_forward
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.linear import Linear
from ttchat_tui.engine.cpu.weights.torch_weights import TorchWeights
from ttchat_tui.engine.cpu.weights.weights import LayerWeights


class DecoderModel:
    """A `Model` that torch computes."""

    def __init__(self, config: ModelConfig, weights: TorchWeights, rope: RopeTable) -> None:
        self.config = config
        self._weights = weights
        self._rope = rope
        self.rounds_activations = any(
            linear.dtype is torch.bfloat16 for layer in weights.layers for linear in layer.matrices
        )
        """Some matrix rounds its input to bfloat16. Logits of a row then depend on the rows beside it, by tenths."""

    def new_cache(self) -> KVCache:
        return KVCache(self.config.layers, self.config.kv_heads, self.config.head_size)

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], kv: KVCache | KVFork, outputs: int | None = None) -> torch.Tensor:
        rows = len(ids)
        kv.reserve(rows)
        positions = kv.next_positions(rows)
        x = functional.embedding(torch.tensor(ids), self._weights.embed).float()
        x.mul_(self.config.embedding_scale)
        rotations = tensor_of(self._rope.rotations(positions, is_long=kv.is_long))
        growth = tensor_of(self.config.query_scales(positions))
        attend = attention_over(kv, rows, self.config.score_cap)
        hidden = self._run_layers(x, rows if outputs is None else outputs, rotations, growth, attend)
        kv.advance(rows)
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: torch.Tensor) -> NDArray[np.float32]:
        # The weight of the final norm is part of the head.
        logits = self._weights.head(hidden * _rms_scale(hidden, self.config.norm_eps))
        shared: Any = capped(logits, self.config.logit_cap).numpy()
        return shared

    def _run_layers(
        self,
        x: torch.Tensor,
        outputs: int,
        rotations: torch.Tensor,
        growth: torch.Tensor,
        attend: Attention,
    ) -> torch.Tensor:
        """Run x, float32 [rows, hidden], through all layers, in place. Returns the last `outputs` rows."""
        eps, scale = self.config.norm_eps, self.config.residual_scale
        last = len(self._weights.layers) - 1
        for index, layer in enumerate(self._weights.layers):
            # A matrix gets the type it computes with; the residual stream stays float32.
            normed = _norm(x, layer.attn_norm, eps)
            qkv = layer.qkv(normed.to(layer.qkv.dtype)).float()
            q, kv = self._rotated_heads(qkv, layer, rotations[layer.rope].unsqueeze(1))
            attended = attend(index, layer.window, q.mul_(growth), kv)
            if index == last:  # The other rows are needed for their keys and values only.
                x, attended = x[len(x) - outputs :], attended[len(attended) - outputs :]
                if not outputs:
                    break
            x.add_(_norm(layer.o(attended.to(layer.o.dtype)), layer.attn_post_norm, eps), alpha=scale)
            added = feed_forward(layer.ffn, _norm(x, layer.ffn_norm, eps))
            x.add_(_norm(added, layer.ffn_post_norm, eps), alpha=scale)
        return x

    def _rotated_heads(
        self, qkv: torch.Tensor, layer: LayerWeights[torch.Tensor, Linear], rotations: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Split qkv [rows, outputs] into heads; norm and rotate q and k, in place.

        Returns:
            q [rows, heads, head_size], and k and v [rows, 2 * kv_heads, head_size]: views.
        """
        config, rotated = self.config, self.config.heads + self.config.kv_heads
        heads = qkv.view(len(qkv), -1, config.head_size)
        if layer.qk_norm is not None:
            if config.traits.qk_norm == "whole":
                for part in (
                    heads.narrow(1, 0, config.heads),
                    heads.narrow(1, config.heads, config.kv_heads),
                ):
                    part.mul_(_rms_scale(part.flatten(1), config.norm_eps).unsqueeze(2))
            else:
                heads.narrow(1, 0, rotated).mul_(_rms_scale(heads.narrow(1, 0, rotated), config.norm_eps))
            heads.narrow(1, 0, rotated).mul_(layer.qk_norm)
        pairs = torch.view_as_complex(qkv.view(len(qkv), -1, config.head_size // 2, 2))
        pairs.narrow(1, 0, rotated).mul_(rotations)
        return heads.narrow(1, 0, config.heads), heads.narrow(1, config.heads, 2 * config.kv_heads)


def _norm(x: torch.Tensor, weight: torch.Tensor | None, eps: float) -> torch.Tensor:
    """RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) over the last axis of x [rows, hidden]; x without a weight."""
    if weight is None:
        return x
    x = x.float()
    if len(x) > 1:
        return (x * _rms_scale(x, eps)).mul_(weight)
    row = x.view(-1)  # A dot product takes half the time, for 61 norms a token.
    return (x * (1.0 / math.sqrt(torch.dot(row, row).item() / len(row) + eps))).mul_(weight)


def _rms_scale(x: torch.Tensor, eps: float) -> torch.Tensor:
    """1 / root mean square over the last axis, kept at size 1. The same bits for a row alone and among others."""
    return torch.rsqrt(x.square().mean(-1, keepdim=True).add_(eps))
