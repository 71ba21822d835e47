"""The forward as in the papers: no cache, no folding, no fused matrices, float64. The reference for the fast one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RawTensor
from ttchat_tui.engine.cpu.forward.rope import rotary_frequencies


@dataclass
class RandomCheckpoint:
    """A `Checkpoint` of random weights, the same for the same config and seed."""

    config: ModelConfig
    seed: int = 0
    has_bias: bool = False
    has_qk_norm: bool = False
    rope_factors: NDArray[np.float32] | None = None
    stored_bits: Literal[4, 8, 16] = 16
    notes: tuple[str, ...] = ()
    generation_config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self._weights: dict[str, torch.Tensor] = {}
        for name, shape in _shapes(self.config, self.has_bias, self.has_qk_norm).items():
            noise = torch.randn(shape, generator=generator)
            spread = noise / shape[-1] ** 0.5 if len(shape) == 2 else noise * 0.2
            self._weights[name] = spread + 1.0 if name.endswith("norm") else spread

    @property
    def names(self) -> Collection[str]:
        return self._weights.keys()

    def tensor(self, name: str) -> NDArray[np.float32]:
        weight: NDArray[np.float32] = self._weights[name].clone().numpy()
        return weight

    def int4_blocks(self, name: str) -> None:
        """Nothing is held in 4 bits."""

    def raw(self, name: str) -> RawTensor:
        weight = self.tensor(name)
        return RawTensor("F32", weight.shape, weight.view(np.uint8).reshape(-1))

    def release(self, name: str) -> None:
        """Nothing is mapped."""

    def double(self, name: str) -> torch.Tensor:
        return self._weights[name].double()


def naive_logits(checkpoint: RandomCheckpoint, ids: Sequence[int]) -> torch.Tensor:
    """float64 [len(ids), vocab]."""
    config = checkpoint.config

    def get(name: str) -> torch.Tensor:
        return checkpoint.double(name)

    x = get("embed")[torch.tensor(ids)]
    for index in range(config.layers):
        x = x + _attention(checkpoint, index, _norm(x, get(f"layers.{index}.attn_norm"), config.norm_eps))
        h = _norm(x, get(f"layers.{index}.ffn_norm"), config.norm_eps)
        gated = functional.silu(h @ get(f"layers.{index}.gate").T) * (h @ get(f"layers.{index}.up").T)
        x = x + gated @ get(f"layers.{index}.down").T
    head = get("embed" if config.is_head_tied else "head")
    return _norm(x, get("norm"), config.norm_eps) @ head.T


def _attention(checkpoint: RandomCheckpoint, index: int, x: torch.Tensor) -> torch.Tensor:
    config, rows = checkpoint.config, len(x)

    def project(name: str, heads: int) -> torch.Tensor:
        """[heads, rows, head_size]."""
        y = x @ checkpoint.double(f"layers.{index}.{name}").T
        if checkpoint.has_bias:
            y = y + checkpoint.double(f"layers.{index}.{name}_bias")
        y = y.view(rows, heads, config.head_size).transpose(0, 1)
        if checkpoint.has_qk_norm and name != "v":
            y = _norm(y, checkpoint.double(f"layers.{index}.{name}_norm"), config.norm_eps)
        return y

    groups = config.heads // config.kv_heads
    q = _rotate(project("q", config.heads), checkpoint)
    k = _rotate(project("k", config.kv_heads), checkpoint).repeat_interleave(groups, 0)
    v = project("v", config.kv_heads).repeat_interleave(groups, 0)
    distance = torch.arange(rows)[:, None] - torch.arange(rows)[None, :]
    window = config.window_of(index)
    hidden = (distance < 0) | (distance >= window) if window else distance < 0
    scores = (q @ k.transpose(1, 2) / config.head_size**0.5).masked_fill(hidden, float("-inf"))
    y = (scores.softmax(-1) @ v).transpose(0, 1).reshape(rows, -1)
    return y @ checkpoint.double(f"layers.{index}.o").T


def _norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _rotate(x: torch.Tensor, checkpoint: RandomCheckpoint) -> torch.Tensor:
    """Rotary embedding in half-split order: element i turns with element i + head_size / 2."""
    frequencies = torch.from_numpy(
        rotary_frequencies(checkpoint.config, checkpoint.rope_factors).frequencies
    ).double()
    angles = torch.arange(x.shape[1], dtype=torch.float64)[:, None] * frequencies
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        (
            first * angles.cos() - second * angles.sin(),
            second * angles.cos() + first * angles.sin(),
        ),
        dim=-1,
    )


def _shapes(config: ModelConfig, has_bias: bool, has_qk_norm: bool) -> dict[str, tuple[int, ...]]:
    hidden, ffn, size = config.hidden_size, config.ffn_size, config.head_size
    shapes: dict[str, tuple[int, ...]] = {"embed": (config.vocab_size, hidden), "norm": (hidden,)}
    if not config.is_head_tied:
        shapes["head"] = (config.vocab_size, hidden)
    for index in range(config.layers):
        layer = f"layers.{index}."
        shapes |= {layer + "attn_norm": (hidden,), layer + "ffn_norm": (hidden,)}
        shapes |= {layer + "o": (hidden, config.heads * size), layer + "down": (hidden, ffn)}
        shapes |= {layer + "gate": (ffn, hidden), layer + "up": (ffn, hidden)}
        for name, heads in (("q", config.heads), ("k", config.kv_heads), ("v", config.kv_heads)):
            shapes[layer + name] = (heads * size, hidden)
            if has_bias:
                shapes[f"{layer}{name}_bias"] = (heads * size,)
        if has_qk_norm:
            shapes |= {layer + "q_norm": (size,), layer + "k_norm": (size,)}
    return shapes
