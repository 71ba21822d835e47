"""Construction of a `Linear` from weights of the checkpoint, in the format of the plan."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks, concatenated, quantized
from ttchat_tui.engine.cpu.weights.int4_linear import Int4Linear, fits_int4
from ttchat_tui.engine.cpu.weights.int8_head import RescoredHead
from ttchat_tui.engine.cpu.weights.linear import (
    BF16Linear,
    ByRows,
    F16Linear,
    Fp32Head,
    Fp32Linear,
    Int8Linear,
    JoinedLinear,
    Linear,
    fits_f16,
)
from ttchat_tui.engine.cpu.weights.precision import WeightPlan
from ttchat_tui.engine.cpu.weights.weights import MatrixPart, joined_bias

_INT4_ROWS: Final = 8
"""Up to this many rows the 4-bit kernel is faster than oneDNN's bfloat16 one. SmolLM2's layers on Zen 4, two threads, 4-bit
and bfloat16: 4.4 and 12 ms for 1 row, 11.5 and 12.6 for 8, 25 and 16 for 16, 83 and 40 for 64, 334 and 133 for 256."""
_INT8_ROWS: Final = 2
"""The same for 8 bits: 8.0 and 12 ms for 1 row, 17 and 13 for 4."""


class MatrixBuilder:
    """A `Builder` for torch's kernels."""

    def __init__(self, checkpoint: Checkpoint, plan: WeightPlan) -> None:
        self._checkpoint = checkpoint
        self._plan = plan

    def vector(self, values: NDArray[np.float32]) -> torch.Tensor:
        return tensor_of(values)

    def ends(self) -> tuple[torch.Tensor, Linear]:
        """The embedding, float32 or float16 [vocab, hidden], and the output head."""
        embed = self._table("embed")
        if self._checkpoint.config.is_head_tied:
            return embed, self.head("embed", embed)
        return embed, self.head("head", self._table("head"))

    def _table(self, name: str) -> torch.Tensor:
        """A lookup table of rows."""
        weight = tensor_of(self._checkpoint.tensor(name))
        return weight.half() if self._plan.format != "fp32" and fits_f16(weight) else weight

    def matrix(self, *parts: MatrixPart, is_gate_up: bool = False) -> Linear:
        """One product if all parts have the same format."""
        if self._plan.format == "int4":
            blocks = [self._blocks(part) for part in parts]
            if len(parts) > 1 and None in blocks:
                return JoinedLinear([self.matrix(part) for part in parts])
            if held := [part for part in blocks if part is not None]:
                return self._int4(concatenated(held), self._bias(parts))
        return self._plain(self._joined(parts), self._bias(parts))

    def head(self, name: str, rows: torch.Tensor) -> Linear:
        """The output head: float32 hidden, normed but for the norm's weight → float32 logits.

        Args:
            name: of the head's weight; `embed` if it is tied.
            rows: that weight as a lookup table.
        """
        scale = np.float32(self._checkpoint.config.logit_scale)
        norm = tensor_of(self._checkpoint.tensor("norm") * scale)
        if self._plan.has_int8_head:
            return RescoredHead(rows, norm)
        weight = tensor_of(self._checkpoint.tensor(name)).mul_(norm)
        is_f16 = self._plan.format != "fp32" and self._plan.rest == "f16" and fits_f16(weight)
        return F16Linear(weight) if is_f16 else Fp32Head(weight)

    def _joined(self, parts: Sequence[MatrixPart]) -> torch.Tensor:
        """float32, rows concatenated."""
        return tensor_of(np.concatenate([self._weight(part) for part in parts]))

    def _weight(self, part: MatrixPart) -> NDArray[np.float32]:
        return part.placed(self._checkpoint.tensor(part.name))

    def _bias(self, parts: Sequence[MatrixPart]) -> torch.Tensor | None:
        bias = joined_bias(self._checkpoint, parts)
        return None if bias is None else tensor_of(bias)

    def _blocks(self, part: MatrixPart) -> Int4Blocks | None:
        """4-bit blocks, if the file has them or the plan rounds to them, and the kernel supports the shape; else None."""
        blocks = self._checkpoint.int4_blocks(part.name)
        if blocks is None and self._plan.requantize:
            weight = self._weight(part)
            return quantized(weight) if fits_int4(*weight.shape) else None
        if blocks is None or not fits_int4(*blocks.codes.shape):
            return None
        return (blocks.map_rows(part.reorder) if part.reorder else blocks).times(part.factor)

    def _int4(self, blocks: Int4Blocks, bias: torch.Tensor | None) -> Linear:
        linear = Int4Linear(blocks, bias)
        if not self._plan.prefill_copy:
            return linear
        return ByRows(linear, BF16Linear(tensor_of(blocks.dequantized()), bias), _INT4_ROWS)

    def _plain(self, weight: torch.Tensor, bias: torch.Tensor | None) -> Linear:
        match self._plan.format:
            case "bf16":
                return BF16Linear(weight, bias)
            case "int8" if self._plan.prefill_copy:
                return ByRows(Int8Linear(weight, bias), BF16Linear(weight, bias), _INT8_ROWS)
            case "int8":
                return Int8Linear(weight, bias)
            case "f16" | "int4" if self._plan.rest == "f16" and fits_f16(weight):
                return F16Linear(weight, bias)
            case _:
                return Fp32Linear(weight, bias)
