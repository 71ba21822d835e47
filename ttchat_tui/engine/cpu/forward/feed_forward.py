"""The feed-forward part of a layer: one gated network, or experts of which each row uses a few."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.weights.linear import Linear
from ttchat_tui.engine.cpu.weights.weights import Dense, Experts


def feed_forward(ffn: Dense[Linear] | Experts[torch.Tensor, Linear], x: torch.Tensor) -> torch.Tensor:
    """float32 [rows, hidden] → [rows, hidden], in the type that the matrices compute with."""
    return _dense(ffn, x) if isinstance(ffn, Dense) else _experts(ffn, x)


def _dense(ffn: Dense[Linear], x: torch.Tensor) -> torch.Tensor:
    gate, up = ffn.gate_up(x.to(ffn.gate_up.dtype)).chunk(2, dim=-1)
    if ffn.activation == "silu":
        return ffn.down(functional.silu(gate).mul_(up))
    return ffn.down(functional.gelu(gate, approximate="tanh").mul_(up))


def _experts(ffn: Experts[torch.Tensor, Linear], x: torch.Tensor) -> torch.Tensor:
    """float32."""
    weights, chosen = functional.linear(x, ffn.router).softmax(-1).topk(ffn.routing.used)
    if ffn.routing.is_normed:
        weights /= weights.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    held: Any = chosen
    for number in map(int, held.unique()):
        rows, places = torch.where(chosen == number)
        out.index_add_(0, rows, _dense(ffn.experts[number], x[rows]).float() * weights[rows, places, None])
    return out
