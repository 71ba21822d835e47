"""Keys and values of all positions so far, preallocated and grown in steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.weights import large_pages

_STEP: Final = 512
"""Positions by which a cache grows at least. A long one grows by a half, so that copying stays linear."""


@dataclass(frozen=True)
class CacheFormat:
    """How keys and values are held in memory."""

    name: str
    dtype: type[np.generic]
    tile: int = 1
    """Positions that are stored together, a divisor of 64: arrays hold whole tiles."""
    scale_size: int = 0
    """Elements of each head and position beyond its own, for its scale."""

    def width(self, head_size: int) -> int:
        """Elements of one head in one tile."""
        return self.tile * (head_size + self.scale_size)

    def tiles(self, positions: int) -> int:
        """That hold so many positions."""
        return -(-positions // self.tile)

    def position_bytes(self, head_size: int) -> int:
        """Of one head's key or value."""
        return np.dtype(self.dtype).itemsize * self.width(head_size) // self.tile


FLOAT32: Final = CacheFormat("fp32", np.float32)


class KVCache:
    """One array for each layer, [2 * kv_heads, tiles, width of a tile], keys first. A tile of float formats is one position:
    [2 * kv_heads, capacity, head_size].

    `length` is the number of valid positions. To crop the cache, set it back: what lies beyond is overwritten.
    """

    def __init__(
        self, layers: int, kv_heads: int, head_size: int, cache_format: CacheFormat = FLOAT32
    ) -> None:
        self.kv_heads = kv_heads
        self.format = cache_format
        self._width = cache_format.width(head_size)
        self.arrays: list[NDArray[Any]] = [
            np.empty((2 * kv_heads, 0, self._width), cache_format.dtype) for _ in range(layers)
        ]
        """By layer; positions from `length` on are undefined. `reserve` replaces them."""
        self.addresses: list[int] = [array.ctypes.data for array in self.arrays]
        """Of the arrays."""
        self.length = 0
        self.is_long = False
        """Its keys are rotated as those of a conversation that `ModelConfig.is_long`."""

    @property
    def capacity(self) -> int:
        return self.arrays[0].shape[1] * self.format.tile

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
        shape = (len(old), 2 * self.kv_heads, self.format.tiles(capacity), self._width)
        self.arrays = list(large_pages.empty(shape, self.format.dtype))
        used = self.format.tiles(self.length)
        for layer, before in zip(self.arrays, old, strict=True):
            layer[:, :used] = before[:, :used]
        self.addresses = [array.ctypes.data for array in self.arrays]

    def advance(self, rows: int) -> None:
        """The rows that were stored in every layer become valid."""
        self.length += rows
