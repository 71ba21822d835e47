"""Floating-point tensors of model files as float32."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.mapped_bytes import Bytes


class FloatType(NamedTuple):
    size: int
    """Bytes of a number."""
    to_float32: Callable[[Bytes], NDArray[np.float32]]
    """Copies."""


def _f64(raw: Bytes) -> NDArray[np.float32]:
    return raw.view(np.float64).astype(np.float32)


def _f32(raw: Bytes) -> NDArray[np.float32]:
    return raw.view(np.float32).copy()


def _f16(raw: Bytes) -> NDArray[np.float32]:
    return raw.view(np.float16).astype(np.float32)


def _bf16(raw: Bytes) -> NDArray[np.float32]:
    return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


FLOAT_TYPES: Final[dict[str, FloatType]] = {
    "F64": FloatType(8, _f64),
    "F32": FloatType(4, _f32),
    "F16": FloatType(2, _f16),
    "BF16": FloatType(2, _bf16),
}
"""By the name that GGUF and safetensors have for them."""
