"""ctypes bindings of decode.c. Calls release the GIL."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch

from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.weights.large_pages import Arena

MAX_ROWS: Final = 8
"""MAX_ROWS of matrix.h: rows in one pass over the weights."""


class Matrix(ctypes.Structure):
    """`Matrix` of matrix.h. Its creator must keep the tensors it points to."""

    _fields_ = [
        ("outputs", ctypes.c_int32),
        ("inputs", ctypes.c_int32),
        ("tiles", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("bits", ctypes.c_int32),
        ("is_paired", ctypes.c_int32),
    ]


class Layer(ctypes.Structure):
    """`Layer` of decode.c."""

    _fields_ = [
        ("attn_norm", ctypes.c_void_p),
        ("ffn_norm", ctypes.c_void_p),
        ("qk_norm", ctypes.c_void_p),
        ("qkv", Matrix),
        ("o", Matrix),
        ("gate_up", Matrix),
        ("down", Matrix),
        ("window", ctypes.c_int32),
    ]


class LayerStack(ctypes.Structure):
    """`LayerStack` of decode.c."""

    _fields_ = [
        ("hidden", ctypes.c_int32),
        ("ffn", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("kv_heads", ctypes.c_int32),
        ("head_size", ctypes.c_int32),
        ("layers", ctypes.c_int32),
        ("eps", ctypes.c_float),
        ("layer", ctypes.POINTER(Layer)),
    ]


class RowPlace(ctypes.Structure):
    """`RowPlace` of decode.c."""

    _fields_ = [("position", ctypes.c_int32), ("shared", ctypes.c_int32), ("slot", ctypes.c_int32)]


class Caches(ctypes.Structure):
    """`Caches` of decode.c."""

    _fields_ = [
        ("shared", ctypes.POINTER(ctypes.c_void_p)),
        ("own", ctypes.POINTER(ctypes.c_void_p)),
        ("shared_capacity", ctypes.c_int32),
        ("own_capacity", ctypes.c_int32),
        ("own_slots", ctypes.c_int32),
    ]


class Library:
    """The compiled library. It has one thread pool and one workspace: only one thread may call it at a time."""

    def __init__(self, compiled: ctypes.CDLL) -> None:
        self.arena = Arena()
        """Memory for weights."""
        self._multiply: Any = compiled.multiply
        self._multiply.argtypes = [ctypes.POINTER(Matrix), ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        self._run_layers: Any = compiled.run_layers
        self._run_layers.argtypes = [
            ctypes.POINTER(LayerStack), ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32,
            ctypes.POINTER(RowPlace), ctypes.POINTER(Caches),
        ]  # fmt: skip
        self._set_threads: Any = compiled.set_threads
        self._set_threads.argtypes = [ctypes.c_int32]

    def set_threads(self, count: int) -> None:
        """Run calls on `count` threads, the caller's included."""
        self._set_threads(count)

    def multiply(self, matrix: Matrix, x: torch.Tensor) -> torch.Tensor:
        """float32 [rows, inputs] → float32 [rows, outputs], bias included.

        Raises:
            MemoryError: no memory for the rounded activations.
        """
        x = x.contiguous()
        out = torch.empty(x.shape[0], int(matrix.outputs))
        if self._multiply(matrix, x.data_ptr(), x.shape[0], out.data_ptr()):
            raise MemoryError
        return out

    def run_layers(
        self, stack: LayerStack, x: torch.Tensor, rotations: torch.Tensor, places: Any, caches: Caches
    ) -> None:
        """Run x, float32 [rows, hidden], through all layers, in place. Keys and values go to `caches`.

        Args:
            rotations: complex64 [rows or 1, 1, head_size / 2].
            places: an array of `RowPlace`, one for each row.
        Raises:
            MemoryError: no memory for the workspace.
        """
        stride = 2 * rotations.shape[2] if rotations.shape[0] > 1 else 0
        if self._run_layers(stack, x.shape[0], x.data_ptr(), rotations.data_ptr(), stride, places, caches):
            raise MemoryError


def load(
    folder: Path,
    environ: Mapping[str, str],
    compiling: Callable[[], None],
    refused: Callable[[str], None],
) -> Library:
    """Load the library from `folder`, as `build.load` does.

    Raises:
        Unavailable: there is no compiled kernel on this machine.
    """
    compiled = build.load(folder, environ, compiling=compiling, refused=refused)
    try:
        return Library(compiled)
    except AttributeError as error:
        raise build.Unavailable(f"the compiled library lacks a function: {error}") from error
