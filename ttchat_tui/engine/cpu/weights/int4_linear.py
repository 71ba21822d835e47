"""Products with 4-bit weights: torch's own kernel for processors.

The kernel holds scale and zero in bfloat16 and sums in float32. It is fast with bfloat16 activations only: with float32
ones a reference kernel runs, 27 times slower.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP, Int4Blocks
from ttchat_tui.engine.cpu.weights.linear import Packed, with_bias

_OUTPUTS: Final = 16
"""The kernel's outputs come in multiples of this."""


class Int4Linear:
    """4-bit weights."""

    dtype: torch.dtype = torch.bfloat16

    def __init__(self, blocks: Int4Blocks, bias: torch.Tensor | None = None) -> None:
        """
        Raises:
            RuntimeError: the kernel is not there, or not for this shape (`fits_int4`).
        """
        # Called through torch.ops: they have no public name.
        self.packed: Packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(blocks.codes.int(), 1)
        self.scale_zero = torch.stack((blocks.scale.t(), blocks.zero.t()), dim=-1).bfloat16().contiguous()
        self.bias = bias
        self._run: Any = torch.ops.aten._weight_int4pack_mm_for_cpu.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype is torch.bfloat16 and self.bias is None:
            return self._run(x, self.packed, GROUP, self.scale_zero)
        y = self._run(x.bfloat16(), self.packed, GROUP, self.scale_zero)
        return with_bias(y, self.bias, x.dtype)


def fits_int4(outputs: int, inputs: int) -> bool:
    """Whether the kernel takes a matrix of this shape."""
    return outputs % _OUTPUTS == 0 and inputs % GROUP == 0
