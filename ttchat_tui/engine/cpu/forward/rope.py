"""Rotary position embedding as one complex multiplication (Su et al. 2021, arXiv:2104.09864).

A pair (x_even, x_odd) is the complex number x_even + i x_odd, rotated by the angle position * frequency. So rows of q and k
are put in pair order once, when the weights are converted (`pair_rows`), instead of swapping halves for every token. Dot
products of q and k do not change, because both are permuted alike. A pair that does not turn has frequency 0.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeKind, RopeScaling

_CHUNK: Final = 1024
"""Positions that a table grows by."""


class RopeTable:
    """Rotations of all positions for each of `ModelConfig.rope_kinds`, computed in blocks as the context grows."""

    def __init__(self, config: ModelConfig, factors: NDArray[np.float32] | None = None) -> None:
        """
        Args:
            factors: divisors of the frequencies from the file, if it has them.
        Raises:
            ModelLoadError: the file's numbers make no rotation.
        """
        _check(config, factors)
        self._config = config
        self._factors = factors
        self._tables: dict[bool, NDArray[np.complex64]] = {}
        """By `is_long`: [kinds, positions, head_size / 2]."""

    def rotations(self, positions: range, *, is_long: bool = False) -> NDArray[np.complex64]:
        """[kinds, positions, head_size / 2], a view.

        `is_long`: for a conversation that `ModelConfig.is_long`.
        """
        table = self._tables.get(is_long)
        if table is None or positions.stop > table.shape[1]:
            table = self._tables[is_long] = self._computed(-(-positions.stop // _CHUNK) * _CHUNK, is_long)
        return table[:, positions.start : positions.stop]

    def _computed(self, size: int, is_long: bool) -> NDArray[np.complex64]:
        positions = np.arange(size, dtype=np.float32)
        kinds: list[NDArray[np.complex64]] = []
        for kind in self._config.rope_kinds:
            turns = rotary_frequencies(self._config, self._factors, kind, is_long=is_long)
            turned = np.exp(1j * np.outer(positions, turns.frequencies)).astype(np.complex64)
            kinds.append(turns.magnitudes * turned)
        return np.stack(kinds)


class RotaryFrequencies(NamedTuple):
    """How the pairs of a head turn."""

    frequencies: NDArray[np.float32]
    """Radians per position, [head_size / 2]."""
    magnitudes: NDArray[np.float32]
    """What the pairs are multiplied by, [head_size / 2]."""


def rotary_frequencies(
    config: ModelConfig,
    factors: NDArray[np.float32] | None,
    kind: RopeKind = "main",
    *,
    is_long: bool = False,
) -> RotaryFrequencies:
    """The turns of one kind of layer. `factors` are divisors from the file, if it has them."""
    frequencies = np.zeros(config.head_size // 2, np.float32)
    magnitudes = np.ones(config.head_size // 2, np.float32)
    turning = slice((config.rotary_size or config.head_size) // 2)
    if kind == "main":
        frequencies[turning] = _main_frequencies(config, is_long)
        if factors is not None:
            frequencies[turning] /= factors
        if config.rope_scaling is not None:
            magnitudes[turning] = config.rope_scaling.magnitude
    elif kind == "local":
        frequencies[turning] = _plain(config, config.local_rope_theta)
    return RotaryFrequencies(frequencies, magnitudes)


def _check(config: ModelConfig, factors: NDArray[np.float32] | None) -> None:
    """Raises ModelLoadError if a frequency cannot be computed, or turns a position of the context by no finite angle."""
    last = np.float32(max(config.context_length, _CHUNK))
    for kind, is_long in product(config.rope_kinds, (False, True)):
        try:
            with np.errstate(all="ignore"):
                turns = rotary_frequencies(config, factors, kind, is_long=is_long)
                numbers = (*turns.frequencies * last, *turns.magnitudes)
        except (ArithmeticError, ValueError):  # No logarithm, or factors of another number.
            numbers = (math.nan,)
        if not np.isfinite(numbers).all():
            raise ModelLoadError(
                "The numbers for the rotary embedding (rope) in the model's file make no rotation.",
                "Download the model again, or choose another file of it.",
            )


def _plain(config: ModelConfig, theta: float) -> NDArray[np.float32]:
    size = config.rotary_size or config.head_size
    exponents = np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
    # In float64, because numpy's float32 powers are a unit in the last place off.
    powers = np.power(np.float64(np.float32(theta)), exponents.astype(np.float64))
    return np.float32(1) / powers.astype(np.float32)


def _main_frequencies(config: ModelConfig, is_long: bool) -> NDArray[np.float32]:
    frequencies, scaling = _plain(config, config.rope_theta), config.rope_scaling
    if scaling is None:
        return frequencies
    match scaling.kind:
        case "linear":
            return frequencies / np.array(scaling.factor, np.float32)
        case "llama3":
            return _llama3(frequencies, scaling)
        case "yarn":
            return _yarn(frequencies, scaling, config.rope_theta)
        case "longrope":
            factors = scaling.long_factors if is_long else scaling.short_factors
            return frequencies / np.array(factors, np.float32)


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


def _yarn(frequencies: NDArray[np.float32], scaling: RopeScaling, theta: float) -> NDArray[np.float32]:
    """YaRN (Peng et al. 2023, arXiv:2309.00071): the same, blended by the number of the pair."""
    size = 2 * len(frequencies)

    def pair_with(turns: float) -> float:
        """The pair that turns so often within the original context."""
        return size * math.log(scaling.original_context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_with(scaling.beta_fast), pair_with(scaling.beta_slow)
    if scaling.is_truncated:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    one, width = np.float32(1), np.float32(max(high - low, 0.001))
    blend = ((np.arange(len(frequencies), dtype=np.float32) - np.float32(low)) / width).clip(0, one)
    return blend * frequencies / np.float32(scaling.factor) + (one - blend) * frequencies


def pair_rows(weight: NDArray[Any], heads: int, rotary_size: int = 0) -> NDArray[Any]:
    """Rows of each head from half-split order (i, i + rotary_size / 2) to pair order (2i, 2i + 1).

    `rotary_size`: leading rows of a head that turn; 0 is all. The others keep their places.
    """
    rest = weight.shape[1:]
    by_head = weight.reshape(heads, -1, *rest)
    turning, still = np.split(by_head, [rotary_size or by_head.shape[1]], axis=1)
    paired = turning.reshape(heads, 2, -1, *rest).swapaxes(1, 2).reshape(turning.shape)
    return np.concatenate((paired, still), axis=1).reshape(weight.shape)
