"""Rotary position embedding as one complex multiplication (Su et al. 2021, arXiv:2104.09864).

A pair (x_even, x_odd) is the complex number x_even + i x_odd, rotated by the angle position * frequency. So rows of q and k
are put in pair order once, when the weights are converted (`pair_rows`), instead of swapping halves for every token. Dot
products of q and k do not change, because both are permuted alike.
"""

from __future__ import annotations

import math

import torch

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling


class RopeTable:
    """Rotations of all positions, computed in blocks as the context grows."""

    def __init__(self, frequencies: torch.Tensor) -> None:
        self._frequencies = frequencies
        self._table = torch.empty(0, len(frequencies), dtype=torch.complex64)

    def rotations(self, positions: range) -> torch.Tensor:
        """complex64 [positions, 1, head_size / 2]."""
        if positions.stop > len(self._table):
            size = -(-positions.stop // 1024) * 1024
            angles = torch.outer(torch.arange(size, dtype=torch.float32), self._frequencies)
            self._table = torch.polar(torch.ones_like(angles), angles)
        return self._table[positions.start : positions.stop].unsqueeze(1)


def rope_frequencies(config: ModelConfig, factors: torch.Tensor | None) -> torch.Tensor:
    """Radians per position, float32 [head_size / 2]. `factors` are divisors from the file, if it has them."""
    exponents = torch.arange(0, config.head_size, 2, dtype=torch.float32) / config.head_size
    frequencies = 1.0 / (config.rope_theta**exponents)
    if factors is not None:
        return frequencies / factors
    if config.rope_scaling is None:
        return frequencies
    if config.rope_scaling.kind == "linear":
        return frequencies / config.rope_scaling.factor
    return _llama3(frequencies, config.rope_scaling)


def _llama3(frequencies: torch.Tensor, scaling: RopeScaling) -> torch.Tensor:
    """Llama 3.1: long waves are stretched by `factor`, short ones are not, those between are blended.

    Source: `apply_scaling` in meta-llama/llama-models, models/llama3/model.py.
    """
    wavelengths = 2 * math.pi / frequencies
    turns_in_context = scaling.original_context / wavelengths
    blend = (turns_in_context - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    blend = blend.clamp(0.0, 1.0)
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies


def pair_rows(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head from half-split order (i, i + head_size / 2) to pair order (2i, 2i + 1)."""
    rest = weight.shape[1:]
    return weight.view(heads, 2, -1, *rest).transpose(1, 2).reshape(weight.shape)
