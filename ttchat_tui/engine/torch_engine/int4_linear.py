"""Products with 4-bit weights: torch's own kernel for processors, and the head that it is good enough for.

The kernel holds scale and zero in bfloat16 and sums in float32. It is fast with bfloat16 activations only: with float32
ones a reference kernel runs, 27 times slower.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from ttchat_tui.engine.torch_engine.int4_blocks import GROUP, Int4Blocks
from ttchat_tui.engine.torch_engine.linear import Packed, with_bias

_OUTPUTS: Final = 16
"""The kernel's outputs come in multiples of this."""
_CANDIDATES: Final = 256
"""Tokens whose logits are computed again, exactly."""


class Int4Linear:
    """4-bit weights."""

    dtype: Final = torch.bfloat16

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


class RescoredHead:
    """The output head in 4 bits, and the logits of the 256 best tokens again from the head's own float16 rows.

    Half the time of a float16 head, which reads 2 bytes a weight where this reads 0.6; the tokens that a sampler can
    reach at all are as exact as there.
    """

    dtype: Final = torch.bfloat16

    def __init__(self, blocks: Int4Blocks, rows: torch.Tensor, norm: torch.Tensor) -> None:
        """
        Args:
            blocks: [vocab, hidden], the final norm's weight folded in.
            rows: [vocab, hidden] of any float type, without it; may be the embedding.
            norm: [hidden], the final norm's weight.
        """
        self._scan = Int4Linear(blocks)
        self._rows = rows
        self._norm = norm

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x [rows, hidden] → float32 [rows, vocab], whatever x's type."""
        logits = self._scan(x.bfloat16()).float()
        best = logits.topk(min(_CANDIDATES, logits.shape[1]), dim=-1, sorted=False).indices
        exact = x.float() * self._norm
        for row in range(x.shape[0]):
            ids = best[row]
            logits[row].index_copy_(0, ids, torch.mv(self._rows.index_select(0, ids).float(), exact[row]))
        return logits


def fits_int4(outputs: int, inputs: int) -> bool:
    """Whether the kernel takes a matrix of this shape."""
    return outputs % _OUTPUTS == 0 and inputs % GROUP == 0
