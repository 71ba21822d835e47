"""A matrix product with packed weights by the compiled kernel, with 16-bit activations."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.native.library import Library, Matrix
from ttchat_tui.engine.cpu.native.tiles import RawPart


class NativeLinear:
    """x [rows, inputs] → x @ weight.T + bias [rows, outputs].

    A row gives the same bits alone and among others, because sums within a group are exact integers.
    """

    def __init__(
        self,
        library: Library,
        parts: Sequence[RawPart],
        bias: NDArray[np.float32] | None = None,
        *,
        is_paired: bool = False,
        rounded: Literal["int4", "int8"] | None = None,
    ) -> None:
        """`is_paired` and `rounded` as for `Library.pack`, which says what may be raised."""
        self._library = library
        self._tiles = library.pack(parts, is_paired=is_paired, rounded=rounded)
        self._bias = bias
        self.matrix = Matrix(
            outputs=self._tiles.outputs,
            inputs=self._tiles.inputs,
            rows=ctypes.addressof(self._tiles.rows),
            bias=None if bias is None else bias.ctypes.data,
            is_paired=is_paired,
        )

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._library.multiply(self.matrix, x)
