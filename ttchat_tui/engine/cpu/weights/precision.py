"""What was asked for, what the machine can and what the file holds → how weights are held."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.model_spec import Precision
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.native.library import MOST_ROWS
from ttchat_tui.engine.cpu.weights.kernels import Kernel

WeightFormat: TypeAlias = Literal["fp32", "f16", "bf16", "int8", "int4"]

_NAMES: Final[dict[str, str]] = {"f16": "float16", "bf16": "bfloat16", "int8": "8-bit", "int4": "4-bit"}


_LOSSES: Final[dict[str, tuple[str, ...]]] = {
    "int4": (
        "Weights were rounded to 4 bits, which costs quality; precision auto keeps what the file holds.",
    ),
    "int8": ("Weights were rounded to 8 bits, which costs a little quality.",),
}

_FLOAT32_ROWS: Final = 16

_log = logging.getLogger(__name__)


class WeightPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How weights are held."""

    format: WeightFormat
    rest: Literal["f16", "fp32"] = "fp32"
    """For matrices that the format does not take: with int4, those that the file holds in more bits."""
    requantize: bool = False
    """With int4, round those to 4 bits instead."""
    has_int8_head: bool = False
    """With int4 and int8, the head as well; otherwise it is float16 or float32."""
    is_native: bool = False
    """With int4 and int8, all matrices and the head for the compiled kernel; those that the file holds in more bits, in 8."""
    prefill_copy: bool = False
    """With int4 and int8, a bfloat16 copy of the layers for many rows at once."""
    notes: tuple[str, ...] = ()
    """What a user should know of it."""

    @property
    def draft_rows(self) -> int:
        """How many rows of a draft get the logits together that they would get one by one; 1 is no drafts.

        Exact for the compiled kernel, to float32's rounding (1e-5) where activations are float32. The other formats round
        activations to bfloat16, and a last bit before that becomes tenths of a logit.
        """
        if self.is_native:
            return MOST_ROWS
        return _FLOAT32_ROWS if self.format in ("fp32", "f16") else 1


def plan_weights(
    wanted: Precision, kernels: Collection[Kernel], *, stored_bits: int, has_native: bool = False
) -> WeightPlan:
    """`auto` is the fastest that loses next to nothing: the file's own 4 bits, else float16, else float32.

    Args:
        kernels: those that work here.
        stored_bits: of the file's matrices (`Checkpoint.stored_bits`).
        has_native: the compiled kernel works here, and with models of this shape.
    Raises:
        ModelLoadError: the precision was asked for by name, and its kernel is not here.
    """
    rest: Literal["f16", "fp32"] = "f16" if "f16" in kernels else "fp32"
    if has_native and (native := _native(wanted, rest, stored_bits)) is not None:
        return native
    if wanted == "auto":
        return _automatic(rest, kernels, is_4_bit=stored_bits == 4)
    if wanted != "fp32" and wanted not in kernels:
        raise ModelLoadError(
            f"This machine's torch has no working {_NAMES[wanted]} kernel.", "Use precision auto or fp32."
        )
    has_int8_head = wanted in ("int4", "int8") and "int8_head" in kernels
    notes = () if wanted == "int4" and stored_bits == 4 else _LOSSES.get(wanted, ())
    return WeightPlan(
        format=wanted, rest=rest, requantize=wanted == "int4", has_int8_head=has_int8_head, notes=notes
    )


def _native(wanted: Precision, rest: Literal["f16", "fp32"], stored_bits: int) -> WeightPlan | None:
    """For the compiled kernel; None where it has no kernel for what was asked, or would lose what the file holds."""
    if wanted == "int4" or (wanted == "auto" and stored_bits == 4):
        notes = () if stored_bits == 4 else _LOSSES["int4"]
        return WeightPlan(format="int4", rest=rest, is_native=True, requantize=wanted == "int4", notes=notes)
    if wanted == "int8" or (wanted == "auto" and stored_bits == 8):
        notes = () if stored_bits == 8 else _LOSSES["int8"]
        return WeightPlan(format="int8", rest=rest, is_native=True, notes=notes)
    return None


def _automatic(rest: Literal["f16", "fp32"], kernels: Collection[Kernel], *, is_4_bit: bool) -> WeightPlan:
    if not is_4_bit:
        return WeightPlan(format=rest, rest=rest)
    if "int4" in kernels:
        # A float16 head is exact. Whether it is faster than the one in 8 bits is not settled: docs/performance.md.
        return WeightPlan(format="int4", rest=rest, has_int8_head=rest != "f16" and "int8_head" in kernels)
    note = (
        f"No working 4-bit kernel on this machine: the file's 4-bit weights run as {rest}, slower and larger."
    )
    _log.warning(note)
    return WeightPlan(format=rest, rest=rest, notes=(note,))
