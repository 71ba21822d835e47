"""Construction of a `Linear` from weights of the checkpoint, in the format of the plan."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.checkpoints.parts import half_split_rows
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.linear import NativeHead, NativeLinear
from ttchat_tui.engine.cpu.native.tiles import NotPackable, RawPart, fits, is_packable, rounded_to_q8_0
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

_INT4_ROWS: Final = 8
"""Up to this many rows the 4-bit kernel is faster than oneDNN's bfloat16 one. SmolLM2's layers on Zen 4, two threads, 4-bit
and bfloat16: 4.4 and 12 ms for 1 row, 11.5 and 12.6 for 8, 25 and 16 for 16, 83 and 40 for 64, 334 and 133 for 256."""
_INT8_ROWS: Final = 2
"""The same for 8 bits: 8.0 and 12 ms for 1 row, 17 and 13 for 4."""


class MatrixPart(msgspec.Struct, frozen=True):
    """One weight in a fused matrix."""

    name: str
    """Canonical name of the weight."""
    bias: str = ""
    """Canonical name of its bias, if it has one."""
    reorder: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    """Permutes the rows; None keeps their order."""
    factor: float = 1.0


class MatrixBuilder:
    """Reads, fuses and packs weights. Thread-safe, because it has no state."""

    def __init__(self, checkpoint: Checkpoint, plan: WeightPlan, library: Library | None = None) -> None:
        """`library`: the compiled kernel, for a plan that `is_native`."""
        self._checkpoint = checkpoint
        self._plan = plan
        self._library = library if plan.is_native else None

    def matrix(self, *parts: MatrixPart, is_gate_up: bool = False) -> Linear:
        """Concatenate the rows of `parts`: one product if all have the same format.

        `is_gate_up`: the parts are gate and up.

        Raises:
            ModelLoadError: a weight is missing or cannot be read.
        """
        if self._library is not None:
            return self._native(self._library, parts, is_gate_up)
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
        if self._library is not None:
            part = self._raw(MatrixPart(name))
            # Four bits by request are for the layers only.
            linear = self._packed(self._library, [part], rounded="int8" if self._plan.rounded else None)
            return NativeHead(linear, norm, part.shape[0])
        if self._plan.has_int8_head:
            return RescoredHead(rows, norm)
        weight = tensor_of(self._checkpoint.tensor(name)).mul_(norm)
        is_f16 = self._plan.format != "fp32" and self._plan.rest == "f16" and fits_f16(weight)
        return F16Linear(weight) if is_f16 else Fp32Head(weight)

    def _native(self, library: Library, parts: Sequence[MatrixPart], is_gate_up: bool) -> Linear:
        raw = [self._raw(part) for part in parts]
        if not fits(sum(part.shape[0] for part in raw), raw[0].shape[1]):
            return self._plain(self._joined(parts), self._bias(parts))
        return self._packed(library, raw, self._bias(parts), is_paired=is_gate_up, rounded=self._plan.rounded)

    def _packed(
        self,
        library: Library,
        parts: Sequence[RawPart],
        bias: torch.Tensor | None = None,
        *,
        is_paired: bool = False,
        rounded: Literal["int4", "int8"] | None,
    ) -> NativeLinear:
        try:
            return NativeLinear(library, parts, bias, is_paired=is_paired, rounded=rounded)
        except NotPackable as error:
            raise ModelLoadError(
                f"A weight cannot be loaded: {error}.",
                "Download the file again, or another quantisation of it.",
            ) from error

    def _raw(self, part: MatrixPart) -> RawPart:
        """The file's own bytes; of types that the kernel does not read, 8 bits."""
        raw = self._checkpoint.raw(part.name)
        rows = np.arange(raw.shape[0], dtype=np.int32)
        shape = (raw.shape[0], raw.shape[1])
        if is_packable(raw.kind):
            kind, data = raw.kind, raw.data
            order = (
                half_split_rows(rows, raw.paired_heads, self._checkpoint.config.rotary_size)
                if raw.paired_heads
                else rows
            )
        else:
            kind, data, order = "Q8_0", rounded_to_q8_0(self._checkpoint.tensor(part.name)), rows
        order = part.reorder(order) if part.reorder else order
        is_moved = not np.array_equal(order, rows)
        return RawPart(kind, shape, data, np.ascontiguousarray(order) if is_moved else None, part.factor)

    def _joined(self, parts: Sequence[MatrixPart]) -> torch.Tensor:
        """float32, rows concatenated."""
        return tensor_of(np.concatenate([self._weight(part) for part in parts]))

    def _weight(self, part: MatrixPart) -> NDArray[np.float32]:
        return _placed(self._checkpoint.tensor(part.name), part)

    def _bias(self, parts: Sequence[MatrixPart]) -> torch.Tensor | None:
        biases = [_placed(self._checkpoint.tensor(part.bias), part) for part in parts if part.bias]
        return tensor_of(np.concatenate(biases)) if biases else None

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


def _placed(weight: NDArray[np.float32], part: MatrixPart) -> NDArray[np.float32]:
    ordered = part.reorder(weight) if part.reorder else weight
    return ordered * np.float32(part.factor) if part.factor != 1.0 else ordered
