"""4-bit weights: codes with a scale and a minimum for each 32 inputs, w = code * scale + minimum.

This represents llama.cpp's formats without loss: Q4_1 directly, Q4_0 with a minimum of -8 scales, Q4_K through the scale and
minimum that its blocks of 256 hold for each 32.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

GROUP: Final = 32
"""Weights along the input axis that share a scale and a minimum."""
CENTRE: Final = 8
"""The code that torch's kernel subtracts: w = (code - 8) * scale + zero."""
_LEVELS: Final = 15


class Int4Blocks(msgspec.Struct, frozen=True):
    """A matrix [out, in] of 4-bit weights."""

    codes: NDArray[np.uint8]
    """[out, in], 0 to 15."""
    scale: NDArray[np.float32]
    """[out, in / 32]."""
    minimum: NDArray[np.float32]
    """[out, in / 32]."""

    @property
    def zero(self) -> NDArray[np.float32]:
        """The weight of code 8, [out, in / 32]."""
        return self.minimum + np.float32(CENTRE) * self.scale

    def map_rows(self, reorder: Callable[[NDArray[Any]], NDArray[Any]]) -> Int4Blocks:
        """Apply `reorder`, which permutes the rows of any array."""
        return Int4Blocks(reorder(self.codes), reorder(self.scale), reorder(self.minimum))

    def times(self, factor: float) -> Int4Blocks:
        return Int4Blocks(self.codes, self.scale * np.float32(factor), self.minimum * np.float32(factor))

    def dequantized(self) -> NDArray[np.float32]:
        """[out, in]."""
        grouped = self.codes.reshape(*self.scale.shape, GROUP).astype(np.float32)
        grouped *= self.scale[..., None]
        grouped += self.minimum[..., None]
        return grouped.reshape(self.codes.shape)


def concatenated(parts: Sequence[Int4Blocks]) -> Int4Blocks:
    """Concatenate rows."""
    return Int4Blocks(
        np.concatenate([part.codes for part in parts]),
        np.concatenate([part.scale for part in parts]),
        np.concatenate([part.minimum for part in parts]),
    )


def quantized(weight: NDArray[np.float32]) -> Int4Blocks:
    """Round [out, in] to 16 levels between the minimum and the maximum of each group.

    Scale and zero are rounded to bfloat16, the kernel's type, before the codes are chosen: rounding them afterwards would
    shift all weights of a group alike.
    """
    grouped = weight.reshape(weight.shape[0], -1, GROUP)
    low, high = grouped.min(axis=-1), grouped.max(axis=-1)
    scale = _bfloat16((high - low) / np.float32(_LEVELS))
    zero = _bfloat16(low + np.float32(CENTRE) * scale)
    codes = grouped - zero[..., None]
    codes /= np.where(scale > 0, scale, np.float32(1))[..., None]
    codes = (np.rint(codes, out=codes) + np.float32(CENTRE)).clip(0, _LEVELS)
    return Int4Blocks(codes.astype(np.uint8).reshape(weight.shape), scale, zero - np.float32(CENTRE) * scale)


def _bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rounded to bfloat16, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
