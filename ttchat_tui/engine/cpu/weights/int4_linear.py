"""Matrix products with 4-bit weights by torch's CPU kernel.

The kernel keeps scales and zeros in bfloat16 and sums in float32. It is fast with bfloat16 activations only: for float32
ones torch runs a reference kernel, 27 times slower.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP, Int4Blocks
from ttchat_tui.engine.cpu.weights.linear import Packed, with_bias

_OUTPUTS: Final = 16
"""The number of outputs must be a multiple of this."""


class Int4Linear:
    """4-bit weights."""

    dtype: torch.dtype = torch.bfloat16

    def __init__(self, blocks: Int4Blocks, bias: torch.Tensor | None = None) -> None:
        """
        Raises:
            RuntimeError: torch has no such kernel, or not for this shape (`fits_int4`).
        """
        # torch.ops, because the operators have no public name.
        self._packed: Packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(
            tensor_of(blocks.codes).int(), 1
        )
        scale, zero = tensor_of(blocks.scale), tensor_of(blocks.zero)
        self._scale_zero = torch.stack((scale.t(), zero.t()), dim=-1).bfloat16().contiguous()
        self._bias = bias
        self._run: Any = torch.ops.aten._weight_int4pack_mm_for_cpu.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype is torch.bfloat16 and self._bias is None:
            return self._run(x, self._packed, GROUP, self._scale_zero)
        y = self._run(x.bfloat16(), self._packed, GROUP, self._scale_zero)
        return with_bias(y, self._bias, x.dtype)


def fits_int4(outputs: int, inputs: int) -> bool:
    """Whether the kernel supports a matrix of this shape."""
    return outputs % _OUTPUTS == 0 and inputs % GROUP == 0
