"""Attention of the rows of one reply, or of the rows of a batch, over their KV cache."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.tensors import tensor_of


class Attention(Protocol):
    """Attention of the rows of one forward."""

    def __call__(self, layer: int, window: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        """Store keys and values, then attend to them and to earlier ones.

        Args:
            layer: number of the layer.
            window: positions that a row sees, its own included; 0 is all.
            q: [rows, heads, head_size]; the softmax scale is part of its weights.
            kv: [rows, 2 * kv_heads, head_size], keys first.
        Returns:
            [rows, heads * head_size].
        """
        ...


def attention_over(kv: KVCache | KVFork, rows: int, score_cap: float) -> Attention:
    """The attention of the next `rows` rows of `kv`."""
    if isinstance(kv, KVFork):
        return BatchAttention(kv, score_cap)
    return CausalAttention(kv, rows, score_cap)


class CausalAttention:
    """Rows at consecutive positions: each sees what is before it, and itself."""

    def __init__(self, cache: KVCache, rows: int, score_cap: float) -> None:
        self._cache = cache
        self._rows = rows
        self._score_cap = score_cap
        self._masks: dict[int, torch.Tensor | None] = {}
        """By window."""

    def __call__(self, layer: int, window: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        first = max(0, self._cache.length - window + 1) if window else 0
        keys, values = self._store(layer, kv, first)
        if self._rows == 1:
            # It needs no mask, and two products cost less than the flash kernel, which is for many rows.
            scores = torch.bmm(q.view(len(keys), -1, q.shape[2]), keys.transpose(1, 2))
            return torch.bmm(capped(scores, self._score_cap).softmax(-1), values).view(1, -1)
        if window not in self._masks:
            self._masks[window] = _causal_mask(self._rows, keys.shape[1], window)
        mask = self._masks[window]
        if self._score_cap and mask is not None:
            # The flash kernel has no cap.
            grouped = q.view(len(q), len(keys), -1, q.shape[2]).permute(1, 2, 0, 3)
            scores = capped(grouped @ keys.transpose(1, 2).unsqueeze(1), self._score_cap)
            weights = (scores + mask).softmax(-1)
            return (weights @ values.unsqueeze(1)).permute(2, 0, 1, 3).flatten(1)
        attended = functional.scaled_dot_product_attention(
            q.transpose(0, 1)[None], keys[None], values[None],
            attn_mask=mask, scale=1.0, enable_gqa=True,
        )  # fmt: skip
        return attended[0].transpose(0, 1).flatten(1)

    def _store(self, layer: int, new: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values of the rows.

        Returns:
            Keys and values of the positions from `first` on, new ones included: views [kv_heads, positions, head_size].
        """
        start = self._cache.length
        buffer = tensor_of(self._cache.arrays[layer])
        buffer.narrow(1, start, len(new)).copy_(new.transpose(0, 1))
        keys, values = buffer.narrow(1, first, start + len(new) - first).chunk(2)
        return keys, values


class BatchAttention:
    """One row for each reply of a batch: it sees the shared prompt, its own tail and itself.

    The prompt's keys and values are read once for all rows: for each key-value head, the queries of all rows form one
    matrix. Each row's tail is a product of its own.
    """

    def __init__(self, fork: KVFork, score_cap: float) -> None:
        self._fork = fork
        self._score_cap = score_cap

    def __call__(self, layer: int, window: int, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        prompt, tails = self._store(layer, kv, window)
        rows, kv_heads, shared = len(q), prompt.shape[1], prompt.shape[2]
        q_tails = q.reshape(rows * kv_heads, -1, q.shape[2])
        own = torch.bmm(q_tails, tails[0].transpose(1, 2))
        common = torch.bmm(_by_head(q_tails, rows), prompt[0].transpose(1, 2))
        weights = capped(torch.cat((common, _by_head(own, rows)), dim=-1), self._score_cap).softmax(-1)
        attended = torch.bmm(weights.narrow(2, 0, shared), prompt[1])
        attended_own = torch.bmm(_by_row(weights.narrow(2, shared, own.shape[2]), rows), tails[1])
        return attended_own.add_(_by_row(attended, rows)).view(rows, -1)

    def _store(self, layer: int, new: torch.Tensor, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Write keys and values of one position for each live row, in the order of `KVFork.slots`.

        Returns:
            What the rows see, as views, keys first: of the prompt [2, kv_heads, positions, head_size], and of their tails
            [2, live rows * kv_heads, positions, head_size].
        """
        fork, live, heads = self._fork, new.shape[0], self._fork.prompt.kv_heads
        buffer = tensor_of(fork.arrays[layer]).narrow(1, 0, live)
        buffer.select(3, fork.length).copy_(new.view(live, 2, heads, -1).transpose(0, 1))
        hidden = max(0, fork.position + 1 - window) if window else 0
        of_prompt = min(hidden, fork.start)
        of_tail = hidden - of_prompt
        prompt = tensor_of(fork.prompt.arrays[layer]).narrow(1, of_prompt, fork.start - of_prompt)
        tails = buffer.flatten(1, 2).narrow(2, of_tail, fork.length + 1 - of_tail)
        return prompt.view(2, heads, *prompt.shape[1:]), tails


def capped(values: torch.Tensor, cap: float) -> torch.Tensor:
    """cap * tanh(values / cap), in place (Gemma 2, arXiv:2408.00118); unchanged if the cap is 0."""
    return values.div_(cap).tanh_().mul_(cap) if cap else values


def _causal_mask(rows: int, positions: int, window: int) -> torch.Tensor | None:
    """The mask to add to the scores of the last `rows` of `positions`: 0, or -inf for positions that a row does not see.

    Returns:
        float32 [rows, positions]; None for one row, which sees all of them.
    """
    if rows == 1:
        return None
    before = positions - rows
    seen = torch.ones(rows, positions, dtype=torch.bool).tril(before)
    if window:
        seen = seen.triu(before - window + 1)
    return torch.zeros(seen.shape).masked_fill_(~seen, -math.inf)


def _by_head(of_rows: torch.Tensor, rows: int) -> torch.Tensor:
    """[rows * kv_heads, group, n] → [kv_heads, rows * group, n]: one matrix for each key-value head."""
    return of_rows.view(rows, -1, *of_rows.shape[1:]).transpose(0, 1).flatten(1, 2)


def _by_row(of_heads: torch.Tensor, rows: int) -> torch.Tensor:
    """[kv_heads, rows * group, n] → [rows * kv_heads, group, n]: the inverse of `_by_head`."""
    return of_heads.view(of_heads.shape[0], rows, -1, of_heads.shape[2]).transpose(0, 1).flatten(0, 1)
