"""Choice of the weight format, from the requested precision, the working kernels and the file."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import CpuOptions, Precision
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.native.library import MAX_ROWS

Kernel: TypeAlias = Literal["f16", "bf16", "int8", "int4", "int8_head"]
"""torch's kernels for less than float32."""
WeightFormat: TypeAlias = Literal["fp32", "f16", "bf16", "int8", "int4"]

_NAMES: Final[dict[str, str]] = {"f16": "float16", "bf16": "bfloat16", "int8": "8-bit", "int4": "4-bit"}


def _losses(precision: str) -> tuple[str, ...]:
    """What rounding to `precision` costs, for the user."""
    if precision == "int4":
        file = setting("cpu.precision", '"auto"')
        return (f"Weights are rounded to 4 bits, which costs quality. {file} keeps the weights of the file.",)
    if precision == "int8":
        return ("Weights are rounded to 8 bits, which costs a little quality.",)
    return ()


_FORMATS: Final[dict[int, WeightFormat]] = {4: "int4", 8: "int8", 16: "f16"}
"""By stored bits."""
_FLOAT32_ROWS: Final = 16

_log = logging.getLogger(__name__)


class WeightPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How weights are kept in memory."""

    format: WeightFormat
    rest: Literal["f16", "fp32"] = "fp32"
    """For matrices that the format cannot represent: with int4, those with more bits in the file."""
    requantize: bool = False
    """With int4, round those matrices to 4 bits instead."""
    has_int8_head: bool = False
    """With int4 and int8, the head has 8 bits; otherwise float16 or float32."""
    is_native: bool = False
    """Matrices and head are for the compiled kernel, in the bits of the file. `format` is then the least of them."""
    rounded: Literal["int4", "int8"] | None = None
    """With the compiled kernel, round what has more bits in the file."""
    prefill_copy: bool = False
    """With int4 and int8, a bfloat16 copy of the layers computes prompts."""
    notes: tuple[str, ...] = ()
    """What the user should know about it."""

    @property
    def draft_rows(self) -> int:
        """Rows of a draft at most: in one forward they get the logits they would get one by one. 1 is no drafts.

        The compiled kernel is exact. float32 activations are so within their rounding (1e-5). The other formats round
        activations to bfloat16, which turns a difference in the last bit into tenths of a logit.
        """
        if self.is_native:
            return MAX_ROWS
        return _FLOAT32_ROWS if self.format in ("fp32", "f16") else 1


def native_plan(requested: Precision, stored_bits: int) -> WeightPlan | None:
    """The plan for the compiled kernel; None if it does not compute at this precision.

    `stored_bits` as `Checkpoint` has them.
    """
    if requested == "auto":
        return WeightPlan(format=_FORMATS[stored_bits], is_native=True)
    if requested == "int4" or requested == "int8":
        notes = () if stored_bits == int(requested[3:]) else _losses(requested)
        return WeightPlan(format=requested, is_native=True, rounded=requested, notes=notes)
    return None


def notes_of_float32_cache(options: CpuOptions) -> list[str]:
    """Why the KV cache is float32 although another one was asked for. For a load without the compiled kernel."""
    if options.kv_cache == "f16":
        return []
    cache = setting("cpu.kv_cache", f'"{options.kv_cache}"')
    cause = "which this load does not use"
    if options.kernel == "off":
        kernel = setting("cpu.kernel", '"off"')
        cause = f"and {kernel} runs without it"
    elif native_plan(options.precision, 16) is None:
        precision = setting("cpu.precision", f'"{options.precision}"')
        cause = f"and {precision} runs without it"
    return [f"{cache} needs the compiled kernel, {cause}. Keys and values are float32."]


def plan_weights(requested: Precision, kernels: Collection[Kernel], *, stored_bits: int) -> WeightPlan:
    """The plan for torch. `auto` is the fastest one without notable loss: the file's 4 bits, else float16, else float32.

    Args:
        kernels: those that work on this machine.
        stored_bits: `Checkpoint.stored_bits`.
    Raises:
        ModelLoadError: the requested precision has no working kernel.
    """
    rest: Literal["f16", "fp32"] = "f16" if "f16" in kernels else "fp32"
    if requested == "auto":
        return _automatic(rest, kernels, is_4_bit=stored_bits == 4)
    if requested != "fp32" and requested not in kernels:
        raise ModelLoadError(
            f"torch has no working {_NAMES[requested]} kernel on this machine.",
            f"Set {setting('cpu.precision')} to auto or fp32.",
        )
    has_int8_head = requested in ("int4", "int8") and "int8_head" in kernels
    notes = () if requested == "int4" and stored_bits == 4 else _losses(requested)
    return WeightPlan(
        format=requested, rest=rest, requantize=requested == "int4", has_int8_head=has_int8_head, notes=notes
    )


def _automatic(rest: Literal["f16", "fp32"], kernels: Collection[Kernel], *, is_4_bit: bool) -> WeightPlan:
    if not is_4_bit:
        return WeightPlan(format=rest, rest=rest)
    if "int4" in kernels:
        # A float16 head is exact. Measurements disagree on whether an 8-bit one is faster.
        return WeightPlan(format="int4", rest=rest, has_int8_head=rest != "f16" and "int8_head" in kernels)
    note = f"torch has no working 4-bit kernel on this machine: the 4-bit weights run as {rest}, slower and larger."
    _log.warning(note)
    return WeightPlan(format=rest, rest=rest, notes=(note,))
