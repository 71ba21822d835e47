"""Keys and values of all positions so far, preallocated and grown in steps."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.weights import large_pages

_STEP: Final = 512
"""Positions by which a cache grows at least. A long one grows by a half, so that copying stays linear."""


class KVCache:
    """One array for each layer, [2 * kv_heads, capacity, head_size], keys first: float32, or float16 for the compiled
    kernel.

    `length` is the number of valid positions. To crop the cache, set it back: what lies beyond is overwritten.
    """

    def __init__(
        self, layers: int, kv_heads: int, head_size: int, dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        self.kv_heads = kv_heads
        self.head_size = head_size
        self.dtype = dtype
        self.arrays: list[NDArray[Any]] = [
            np.empty((2 * kv_heads, 0, head_size), dtype) for _ in range(layers)
        ]
        """By layer; positions from `length` on are undefined. `reserve` replaces them."""
        self.addresses: list[int] = [array.ctypes.data for array in self.arrays]
        """Of the arrays."""
        self.length = 0
        self.is_long = False
        """Its keys are rotated as those of a conversation that `ModelConfig.is_long`."""

    @property
    def capacity(self) -> int:
        return self.arrays[0].shape[1]

    def next_positions(self, rows: int) -> range:
        """Where the next `rows` rows go."""
        return range(self.length, self.length + rows)

    def reserve(self, rows: int) -> None:
        """Make room for `rows` more positions."""
        needed = self.length + rows
        if needed <= self.capacity:
            return
        capacity = -(-max(needed, self.length + self.length // 2) // _STEP) * _STEP
        old = self.arrays
        # One block for all layers: a single layer is often smaller than a large page.
        block = large_pages.empty((len(old), old[0].shape[0], capacity, self.head_size), self.dtype)
        self.arrays = list(block)
        for layer, before in zip(self.arrays, old, strict=True):
            layer[:, : self.length] = before[:, : self.length]
        self.addresses = [array.ctypes.data for array in self.arrays]

    def advance(self, rows: int) -> None:
        """The rows that were stored in every layer become valid."""
        self.length += rows
