"""Weights of a model file as tiles of the compiled kernel: packed in C, on all threads, from the file's own bytes.

Formats: tiles.h. Each type of weights has one that holds its codes as they are; scales are rounded to float16 where the file
computes them from two numbers, which costs a KL of 1e-6.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.ggml_types import GGML_TYPES

WIDTH: Final = 32
"""Outputs of a tile."""
GROUP: Final = 32
"""Inputs of a tile."""
TYPE_NUMBERS: Final = {kind.name: number for number, kind in GGML_TYPES.items()}
"""GGML's numbers by name."""
_Rounding: TypeAlias = Literal["int4", "int8", "fp32"] | None
_ROUNDED: Final[dict[_Rounding, int]] = {"int4": 0, "int8": 1, "fp32": 10, None: 11}
"""`Format` of tiles.h; the last one is FORMATS."""


class RawPart(msgspec.Struct, frozen=True):
    """Rows of a matrix, as a file has them."""

    kind: str
    """GGML's name of the type."""
    shape: tuple[int, int]
    """[outputs, inputs]."""
    data: NDArray[np.uint8]
    """Contiguous."""
    order: NDArray[np.int32] | None = None
    """Row i is the file's row order[i]; None keeps their order."""
    factor: float = 1.0
    """Multiplies all weights."""


class NotPackable(ValueError):
    """The kernel has no format for these weights; `str()` is a clause."""


class TileRow(ctypes.Structure):
    """`TileRow` of tiles.h."""

    _fields_ = [("tiles", ctypes.c_void_p), ("format", ctypes.c_int32), ("padding", ctypes.c_int32)]


class SourcePart(ctypes.Structure):
    """`RawPart` of packing.h."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
        ("type", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("factor", ctypes.c_float),
        ("padding", ctypes.c_int32),
    ]


class Recipe(ctypes.Structure):
    """`Recipe` of packing.h."""

    _fields_ = [
        ("parts", ctypes.POINTER(SourcePart)),
        ("count", ctypes.c_int32),
        ("inputs", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("is_paired", ctypes.c_int32),
        ("rounded", ctypes.c_int32),
    ]


class Tiles(msgspec.Struct, frozen=True):
    """A packed matrix. Outputs are a multiple of 32; those beyond the parts' are 0."""

    outputs: int
    inputs: int
    rows: Any
    """An array of `TileRow`, one for each 32 outputs. They point into the arena."""
    memory: Any
    """What keeps the tiles alive."""


def fits(outputs: int, inputs: int) -> bool:
    """Whether a matrix of this shape can be packed without more outputs."""
    return outputs % WIDTH == 0 and inputs % GROUP == 0


def is_packable(kind: str) -> bool:
    """Whether the kernel reads this type's blocks."""
    return kind in _PACKABLE


def rounded_to_q8_0(weight: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[outputs, inputs] as blocks of Q8_0: for each 32 weights a float16 scale and 255 levels."""
    grouped = weight.reshape(-1, GROUP)
    largest = np.abs(grouped).max(axis=1, keepdims=True)
    # The scale is rounded first, so that the codes compensate for it. Below 6e-5 float16 has few of them: one that is too small
    # for the largest weight would cut it off.
    with np.errstate(over="ignore"):  # `pack` refuses infinite ones.
        scale = (largest / np.float32(127)).astype(np.float16)
    is_short = largest > np.float32(127.5) * scale
    scale = np.where(is_short, np.nextafter(scale, np.float16(np.inf)), scale)
    steps = np.where(scale > 0, scale.astype(np.float32), np.float32(1))
    codes = np.rint(grouped / steps).clip(-127, 127).astype(np.int8)
    return np.concatenate((scale.view(np.uint8), codes.view(np.uint8)), axis=1).reshape(-1)


_PACKABLE: Final = frozenset(TYPE_NUMBERS) - {
    "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M", "TQ1_0", "TQ2_0",
}  # fmt: skip


def recipe_of(
    parts: Sequence[RawPart], *, is_paired: bool, rounded: Literal["int4", "int8", "fp32"] | None
) -> Recipe:
    """
    Raises:
        NotPackable: a type is not known, or the rows are of different lengths.
    """
    inputs = parts[0].shape[1]
    for part in parts:
        if not is_packable(part.kind):
            raise NotPackable(f"weights of type {part.kind} are not read by the kernel")
        if part.shape[1] != inputs:
            raise NotPackable("the rows have different lengths")
    native = (SourcePart * len(parts))(
        *(
            SourcePart(
                data=part.data.ctypes.data,
                order=None if part.order is None else part.order.ctypes.data,
                type=TYPE_NUMBERS[part.kind],
                rows=part.shape[0],
                factor=part.factor,
            )
            for part in parts
        )
    )
    outputs = -(-sum(part.shape[0] for part in parts) // WIDTH) * WIDTH
    return Recipe(
        parts=native,
        count=len(parts),
        inputs=inputs,
        outputs=outputs,
        is_paired=is_paired,
        rounded=_ROUNDED[rounded],
    )
