"""Rotary position embedding as one complex multiplication (Su et al. 2021, arXiv:2104.09864).

A pair (x_even, x_odd) is the complex number x_even + i x_odd, rotated by the angle position * frequency. So rows of q and k
are put in pair order once, when the weights are converted (`pair_rows`), instead of swapping halves for every token. Dot
products of q and k do not change, because both are permuted alike.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling


class RopeTable:
    """Rotations of all positions, computed in blocks as the context grows."""

    def __init__(self, frequencies: NDArray[np.float32]) -> None:
        self._frequencies = frequencies
        self._table = np.empty((0, len(frequencies)), np.complex64)

    def rotations(self, positions: range) -> NDArray[np.complex64]:
        """[positions, head_size / 2]."""
        if positions.stop > len(self._table):
            size = -(-positions.stop // 1024) * 1024
            angles = np.outer(np.arange(size, dtype=np.float32), self._frequencies)
            self._table = np.exp(1j * angles)
        return self._table[positions.start : positions.stop]


def rope_frequencies(config: ModelConfig, factors: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Radians per position, [head_size / 2]. `factors` are divisors from the file, if it has them."""
    exponents = np.arange(0, config.head_size, 2, dtype=np.float32) / np.float32(config.head_size)
    # In float64, because numpy's float32 powers are a unit in the last place off.
    powers = np.power(np.float64(np.float32(config.rope_theta)), exponents.astype(np.float64))
    frequencies = np.float32(1) / powers.astype(np.float32)
    if factors is not None:
        return frequencies / factors
    if config.rope_scaling is None:
        return frequencies
    if config.rope_scaling.kind == "linear":
        return frequencies / np.float32(config.rope_scaling.factor)
    return _llama3(frequencies, config.rope_scaling)


def _llama3(frequencies: NDArray[np.float32], scaling: RopeScaling) -> NDArray[np.float32]:
    """Llama 3.1: long waves are stretched by `factor`, short ones are not, those between are blended.

    Source: `apply_scaling` in meta-llama/llama-models, models/llama3/model.py.
    """
    one = np.float32(1)
    low, high = np.float32(scaling.low_freq_factor), np.float32(scaling.high_freq_factor)
    wavelengths = np.float32(2 * math.pi) / frequencies
    turns_in_context = np.float32(scaling.original_context) / wavelengths
    blend = ((turns_in_context - low) / (high - low)).clip(0, one)
    return (one - blend) * frequencies / np.float32(scaling.factor) + blend * frequencies


def pair_rows(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Rows of each head from half-split order (i, i + head_size / 2) to pair order (2i, 2i + 1)."""
    rest = weight.shape[1:]
    return weight.reshape(heads, 2, -1, *rest).swapaxes(1, 2).reshape(weight.shape)
