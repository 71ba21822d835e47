"""Matrix products with 4-bit and 8-bit weights by the compiled kernel, with 16-bit activations."""

from __future__ import annotations

import torch

from ttchat_tui.engine.cpu.native.library import Library, Matrix
from ttchat_tui.engine.cpu.native.packing import WIDTH, packed_4_bit, packed_8_bit
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks


class NativeLinear:
    """A `Linear`. A row gives the same bits alone and among others, because sums within a group are exact integers."""

    dtype: torch.dtype = torch.float32

    def __init__(
        self,
        library: Library,
        weight: Int4Blocks | torch.Tensor,
        bias: torch.Tensor | None,
        *,
        is_paired: bool = False,
    ) -> None:
        """
        Args:
            weight: 4-bit blocks, kept without loss, or float [outputs, inputs], rounded to 8 bits.
            is_paired: the outputs are gate and up, which share tiles.
        """
        is_4_bit = isinstance(weight, Int4Blocks)
        pack = packed_4_bit if is_4_bit else packed_8_bit
        self._library = library
        self._tiles = library.arena.hold(pack(weight, is_paired=is_paired))  # type: ignore[operator]
        self._bias = None if bias is None else bias.float().contiguous()
        shape = weight.codes.shape if is_4_bit else weight.shape
        self.matrix = Matrix(
            outputs=shape[0],
            inputs=shape[1],
            tiles=self._tiles.data_ptr(),
            bias=None if self._bias is None else self._bias.data_ptr(),
            bits=4 if is_4_bit else 8,
            is_paired=is_paired,
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._library.multiply(self.matrix, x.float())


class NativeHead:
    """The output head in 8 bits: hidden [rows, hidden], normed but for the norm's weight → float32 logits [rows, vocab]."""

    dtype: torch.dtype = torch.float32

    def __init__(self, library: Library, rows: torch.Tensor, norm: torch.Tensor) -> None:
        """
        Args:
            rows: the head's weight [vocab, hidden].
            norm: [hidden], the final norm's weight. It multiplies the activations, which have the finer steps.
        """
        self._norm = norm
        self._vocab = rows.shape[0]
        missing = -self._vocab % WIDTH
        padded = torch.cat((rows, rows.new_zeros(missing, rows.shape[1]))) if missing else rows
        self._linear = NativeLinear(library, padded, None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._linear(x * self._norm).narrow(1, 0, self._vocab)
