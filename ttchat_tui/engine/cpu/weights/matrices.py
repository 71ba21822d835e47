"""Weights of the checkpoint → a `Linear` in the format that the plan says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import torch

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.linear import NativeHead, NativeLinear
from ttchat_tui.engine.cpu.native.packing import fits
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
"""Up to here the 4-bit kernel is faster than oneDNN's bfloat16 one. SmolLM2's layers on Zen 4, two threads, 4-bit
against bfloat16: 4.4 ms and 12 at 1 row, 11.5 and 12.6 at 8, 25 and 16 at 16, 83 and 40 at 64, 334 and 133 at 256."""
_INT8_ROWS: Final = 2
"""The same for 8 bits: 8.0 and 12 ms at 1 row, 17 and 13 at 4."""


class Rows(msgspec.Struct, frozen=True):
    """One weight's part in a fused matrix."""

    name: str
    """Canonical name of the weight."""
    bias: str = ""
    """Canonical name of its bias, if it has one."""
    reorder: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Puts rows into another order; None leaves them."""
    factor: float = 1.0


class MatrixBuilder:
    """Reads, fuses and packs. Keeps nothing between calls: several threads may use one."""

    def __init__(self, checkpoint: Checkpoint, plan: WeightPlan, library: Library | None = None) -> None:
        """`library`: what the plan's `is_native` means."""
        self._checkpoint = checkpoint
        self._plan = plan
        self._library = library if plan.is_native else None

    def matrix(self, *parts: Rows, is_gate_up: bool = False) -> Linear:
        """The parts' rows one after the other; one product where all are of one format.

        `is_gate_up`: there are two, whose outputs are multiplied with each other.

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
        return self._plain(torch.cat([self._weight(part) for part in parts]), self._bias(parts))

    def head(self, name: str, rows: torch.Tensor) -> Linear:
        """float32 hidden, normed without the norm's weight → float32 logits.

        Args:
            name: of the head's weight: `embed` where it is tied.
            rows: that weight as it is held to look rows up in.
        """
        norm = self._checkpoint.tensor("norm")
        if self._library is not None:
            return NativeHead(self._library, rows, norm)
        if self._plan.has_int8_head:
            return RescoredHead(rows, norm)
        weight = self._checkpoint.tensor(name).mul_(norm)
        is_f16 = self._plan.format != "fp32" and self._plan.rest == "f16" and fits_f16(weight)
        return F16Linear(weight) if is_f16 else Fp32Head(weight)

    def _native(self, library: Library, parts: Sequence[Rows], is_gate_up: bool) -> Linear:
        """4 bits where all parts have them, else 8."""
        blocks = [self._blocks(part) for part in parts] if self._plan.format == "int4" else []
        held = [part for part in blocks if part is not None]
        weight = (
            concatenated(held)
            if len(held) == len(parts)
            else torch.cat([self._weight(part) for part in parts])
        )
        shape = weight.codes.shape if isinstance(weight, Int4Blocks) else weight.shape
        if not fits(*shape):
            return self._plain(torch.cat([self._weight(part) for part in parts]), self._bias(parts))
        return NativeLinear(library, weight, self._bias(parts), is_paired=is_gate_up)

    def _weight(self, part: Rows) -> torch.Tensor:
        return _placed(self._checkpoint.tensor(part.name), part)

    def _bias(self, parts: Sequence[Rows]) -> torch.Tensor | None:
        biases = [_placed(self._checkpoint.tensor(part.bias), part) for part in parts if part.bias]
        return torch.cat(biases) if biases else None

    def _blocks(self, part: Rows) -> Int4Blocks | None:
        """4-bit blocks, where the file has them or rounding is wanted, and the kernel takes the shape."""
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
        return ByRows(linear, BF16Linear(blocks.dequantized(), bias), _INT4_ROWS)

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


def _placed(tensor: torch.Tensor, part: Rows) -> torch.Tensor:
    ordered = part.reorder(tensor) if part.reorder else tensor
    return ordered * part.factor if part.factor != 1.0 else ordered
