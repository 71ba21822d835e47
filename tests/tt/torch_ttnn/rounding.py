"""ttnn's number formats: the values that a format can hold, as float32."""

from __future__ import annotations

from typing import Final

import torch

_BLOCK: Final = 16
"""Values that share an exponent: consecutive in a row of a tile (ttnn's documentation of data formats)."""
_MANTISSA_BITS: Final = {"bfloat8_b": 7, "bfloat4_b": 3}
"""Beside the sign. The leading one is explicit, because the exponent is that of the block's largest value."""
_INTEGERS: Final = {"uint8", "uint16", "uint32", "int32"}


def rounded(values: torch.Tensor, format_name: str) -> torch.Tensor:
    """`values` as a tensor of that format holds them: float32, or int32 for integers (int64 for uint32).

    Raises:
        NotImplementedError: the format is unknown.
    """
    if format_name == "float32":
        return values.float()
    if format_name == "bfloat16":
        return values.bfloat16().float()
    if format_name in _MANTISSA_BITS:
        return _block_float(values.float(), _MANTISSA_BITS[format_name])
    if format_name in _INTEGERS:
        return values.to(torch.int64 if format_name == "uint32" else torch.int32)
    raise NotImplementedError(f"the number format {format_name} has no rounding here")


def _block_float(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Each block of 16 as sign and `bits` of mantissa under one exponent; ties go to even, the largest value saturates."""
    width = values.shape[-1]
    padded = torch.nn.functional.pad(values, (0, -width % _BLOCK))
    blocks = padded.reshape(*padded.shape[:-1], -1, _BLOCK)
    _, exponent = torch.frexp(blocks.abs().amax(-1, keepdim=True))
    step = torch.ldexp(torch.ones_like(blocks[..., :1]), exponent - bits)
    largest = 2**bits - 1
    held = (blocks / step).round().clamp(-largest, largest) * step
    return held.reshape(padded.shape)[..., :width]
