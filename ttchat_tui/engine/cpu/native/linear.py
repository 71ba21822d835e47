"""Matrix products with packed weights by the compiled kernel, with 16-bit activations."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Literal

import torch

from ttchat_tui.engine.cpu.native.library import Library, Matrix
from ttchat_tui.engine.cpu.native.tiles import RawPart


class NativeLinear:
    """A `Linear`. A row gives the same bits alone and among others, because sums within a group are exact integers."""

    dtype: torch.dtype = torch.float32

    def __init__(
        self,
        library: Library,
        parts: Sequence[RawPart],
        bias: torch.Tensor | None = None,
        *,
        is_paired: bool = False,
        rounded: Literal["int4", "int8"] | None = None,
    ) -> None:
        """`is_paired` and `rounded` as for `Library.pack`, which says what may be raised."""
        self._library = library
        self._tiles = library.pack(parts, is_paired=is_paired, rounded=rounded)
        self._bias = None if bias is None else bias.float().contiguous()
        self.matrix = Matrix(
            outputs=self._tiles.outputs,
            inputs=self._tiles.inputs,
            rows=ctypes.addressof(self._tiles.rows),
            bias=None if self._bias is None else self._bias.data_ptr(),
            is_paired=is_paired,
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._library.multiply(self.matrix, x.float())


class NativeHead:
    """The output head: hidden [rows, hidden], normed but for the norm's weight → float32 logits [rows, vocab]."""

    dtype: torch.dtype = torch.float32

    def __init__(self, linear: NativeLinear, norm: torch.Tensor, vocab: int) -> None:
        """
        Args:
            linear: hidden → at least `vocab`.
            norm: [hidden], the final norm's weight. It multiplies the activations, which have the finer steps.
        """
        self._linear = linear
        self._norm = norm
        self._vocab = vocab

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._linear(x * self._norm).narrow(1, 0, self._vocab)
