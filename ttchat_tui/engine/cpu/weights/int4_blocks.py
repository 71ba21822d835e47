"""4-bit weights: codes with a scale and a minimum for each 32 inputs, w = code * scale + minimum.

This represents llama.cpp's formats without loss: Q4_1 directly, Q4_0 with a minimum of -8 scales, Q4_K through the scale and
minimum that its blocks of 256 hold for each 32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import torch

GROUP: Final = 32
"""Weights along the input axis that share a scale and a minimum."""
CENTRE: Final = 8
"""The code that torch's kernel subtracts: w = (code - 8) * scale + zero."""
_LEVELS: Final = 15


class Int4Blocks(msgspec.Struct, frozen=True):
    """A matrix [out, in] of 4-bit weights."""

    codes: torch.Tensor
    """uint8 [out, in], 0 to 15."""
    scale: torch.Tensor
    """float32 [out, in / 32]."""
    minimum: torch.Tensor
    """float32 [out, in / 32]."""

    @property
    def zero(self) -> torch.Tensor:
        """The weight of code 8, float32 [out, in / 32]."""
        return self.minimum + CENTRE * self.scale

    def map_rows(self, reorder: Callable[[torch.Tensor], torch.Tensor]) -> Int4Blocks:
        """Apply `reorder`, which permutes the rows of any tensor."""
        return Int4Blocks(reorder(self.codes), reorder(self.scale), reorder(self.minimum))

    def times(self, factor: float) -> Int4Blocks:
        return Int4Blocks(self.codes, self.scale * factor, self.minimum * factor)

    def dequantized(self) -> torch.Tensor:
        """float32 [out, in]."""
        grouped = self.codes.view(*self.scale.shape, GROUP).float()
        return grouped.mul_(self.scale.unsqueeze(-1)).add_(self.minimum.unsqueeze(-1)).flatten(1)


def concatenated(parts: Sequence[Int4Blocks]) -> Int4Blocks:
    """Concatenate rows."""
    return Int4Blocks(
        torch.cat([part.codes for part in parts]),
        torch.cat([part.scale for part in parts]),
        torch.cat([part.minimum for part in parts]),
    )


def quantized(weight: torch.Tensor) -> Int4Blocks:
    """Round float32 [out, in] to 16 levels between the minimum and the maximum of each group.

    Scale and zero are rounded to bfloat16, the kernel's type, before the codes are chosen: rounding them afterwards would
    shift all weights of a group alike.
    """
    grouped = weight.view(weight.shape[0], -1, GROUP)
    low, high = grouped.aminmax(dim=-1)
    scale = ((high - low) / _LEVELS).bfloat16().float()
    zero = (low + CENTRE * scale).bfloat16().float()
    steps = torch.where(scale > 0, scale, 1.0).unsqueeze(-1)
    codes = (grouped - zero.unsqueeze(-1)).div_(steps).round_().add_(CENTRE).clamp_(0, _LEVELS)
    return Int4Blocks(codes.to(torch.uint8).flatten(1), scale, zero - CENTRE * scale)
