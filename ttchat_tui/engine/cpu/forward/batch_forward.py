"""One decode step of several rows that share a prompt: the forward of `model`, the attention of a fork.

The prompt's keys and values are read once for all rows: for each key-value head, the queries of all rows are one matrix.
Each row's own tail is a product of its own.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.weights.weights import LayerWeights


class BatchForward:
    """Runs on the weights of `model`."""

    def __init__(self, model: DecoderModel) -> None:
        self._config = model.config
        self._native = model.native
        self._weights = model.weights
        self._rope = model.rope

    @torch.inference_mode()
    def step(self, ids: torch.Tensor, fork: KVFork) -> torch.Tensor:
        """Append ids [live rows], in the order of `fork.slots`, one to each row.

        Returns:
            The hidden states after them, float32 [live rows, hidden], for `DecoderModel.logits`.
        """
        fork.reserve()
        x = functional.embedding(ids, self._weights.embed).float()
        turns = self._rope.turns(fork.position, 1)
        if self._native is not None:
            self._native.run_fork(x, turns, fork)
            fork.advance()
            return x
        for index, layer in enumerate(self._weights.layers):
            qkv = layer.qkv(self._norm(x, layer.attn_norm).to(layer.qkv.dtype))
            x.add_(layer.o(self._attention(index, layer, qkv.float(), turns, fork).to(layer.o.dtype)))
            gate_up = layer.gate_up(self._norm(x, layer.ffn_norm).to(layer.gate_up.dtype))
            gate, up = gate_up.chunk(2, dim=-1)
            x.add_(layer.down(functional.silu(gate).mul_(up)))
        fork.advance()
        return x

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """RMSNorm (Zhang and Sennrich 2019) over the last axis."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True).add_(self._config.norm_eps))
        return (x * scale).mul_(weight)

    def _attention(
        self, index: int, layer: LayerWeights, qkv: torch.Tensor, turns: torch.Tensor, fork: KVFork
    ) -> torch.Tensor:
        """Attention of each row over the prompt, its tail and itself: [rows, outputs] → [rows, heads * head_size]."""
        config, rows = self._config, qkv.shape[0]
        rotated = config.heads + config.kv_heads
        qkv = qkv.view(rows, rotated + config.kv_heads, config.head_size)
        if layer.qk_norm is not None:
            qk = qkv.narrow(1, 0, rotated)
            qk.mul_(torch.rsqrt(qk.square().mean(-1, keepdim=True) + config.norm_eps)).mul_(layer.qk_norm)
        pairs = torch.view_as_complex(qkv.view(rows, -1, config.head_size // 2, 2))
        pairs.narrow(1, 0, rotated).mul_(turns)
        prompt, tails = fork.store(index, qkv.narrow(1, config.heads, 2 * config.kv_heads), layer.window)
        return _attend(qkv.narrow(1, 0, config.heads), prompt, tails)


def _attend(q: torch.Tensor, prompt: torch.Tensor, tails: torch.Tensor) -> torch.Tensor:
    """
    Args:
        q: [rows, heads, head_size]; the scale is in its weights.
        prompt: [2, kv_heads, positions, head_size], keys first.
        tails: [2, rows * kv_heads, positions, head_size], keys first.
    Returns:
        [rows, heads * head_size].
    """
    rows = q.shape[0]
    kv_heads, shared = prompt.shape[1:3]
    q_tails = q.reshape(rows * kv_heads, -1, q.shape[2])
    own = torch.bmm(q_tails, tails[0].transpose(1, 2))
    if shared == 0:  # The window has left the prompt behind.
        return torch.bmm(own.softmax(-1), tails[1]).view(rows, -1)
    common = torch.bmm(_by_head(q_tails, rows), prompt[0].transpose(1, 2))
    weights = torch.cat((common, _by_head(own, rows)), dim=-1).softmax(-1)
    attended = torch.bmm(weights.narrow(2, 0, shared), prompt[1])
    attended_own = torch.bmm(_by_row(weights.narrow(2, shared, own.shape[2]), rows), tails[1])
    return attended_own.add_(_by_row(attended, rows)).view(rows, -1)


def _by_head(of_rows: torch.Tensor, rows: int) -> torch.Tensor:
    """[rows * kv_heads, group, n] → [kv_heads, rows * group, n]: for each key-value head one matrix."""
    return of_rows.view(rows, -1, *of_rows.shape[1:]).transpose(0, 1).flatten(1, 2)


def _by_row(of_heads: torch.Tensor, rows: int) -> torch.Tensor:
    """[kv_heads, rows * group, n] → [rows * kv_heads, group, n]: the way back."""
    return of_heads.view(of_heads.shape[0], rows, -1, of_heads.shape[2]).transpose(0, 1).flatten(0, 1)
