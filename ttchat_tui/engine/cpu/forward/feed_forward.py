"""The feed-forward part of a layer: one gated network, or experts of which each row uses a few."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import torch
from torch.nn import functional

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Routing
from ttchat_tui.engine.cpu.weights.linear import Linear


class Dense(msgspec.Struct, frozen=True, kw_only=True):
    """down(activation(gate) * up) (Shazeer 2020, arXiv:2002.05202)."""

    gate_up: Linear
    """hidden → 2 * ffn_size, gate first."""
    down: Linear
    activation: Literal["silu", "gelu"]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float32 [rows, hidden] → [rows, hidden], in the type that the matrices compute with."""
        gate, up = self.gate_up(x.to(self.gate_up.dtype)).chunk(2, dim=-1)
        if self.activation == "silu":
            return self.down(functional.silu(gate).mul_(up))
        return self.down(functional.gelu(gate, approximate="tanh").mul_(up))


class Experts(msgspec.Struct, frozen=True, kw_only=True):
    """A mixture of experts (Jiang et al. 2024, arXiv:2401.04088): a softmax over the router's outputs weighs the greatest."""

    router: torch.Tensor
    """float32 [experts, hidden]. Not rounded: a small error may choose another expert."""
    experts: list[Dense]
    routing: Routing

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """float32 [rows, hidden] → float32 [rows, hidden]."""
        weights, chosen = functional.linear(x, self.router).softmax(-1).topk(self.routing.used)
        if self.routing.is_normed:
            weights /= weights.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        held: Any = chosen
        for number in map(int, held.unique()):
            rows, places = torch.where(chosen == number)
            out.index_add_(0, rows, self.experts[number](x[rows]).float() * weights[rows, places, None])
        return out
