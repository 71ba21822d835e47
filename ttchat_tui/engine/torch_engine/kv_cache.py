"""Keys and values of every position so far, preallocated and grown in steps."""

from __future__ import annotations

from typing import Final

import torch

_STEP: Final = 512
"""Positions by which a cache grows at least; beyond that it grows by a half, so that copying stays linear."""


class KVCache:
    """For each layer one float32 tensor [2 * kv_heads, capacity, head_size]: keys first, then values.

    `length` is the number of valid positions. Cropping is setting it back: what lies behind is overwritten.
    """

    def __init__(self, layers: int, kv_heads: int, head_size: int) -> None:
        self.kv_heads = kv_heads
        self.head_size = head_size
        self._layers = [torch.empty(2 * kv_heads, 0, head_size) for _ in range(layers)]
        self.length = 0

    @property
    def layers(self) -> int:
        return len(self._layers)

    def layer(self, index: int) -> torch.Tensor:
        """All of one layer's tensor; positions from `length` on mean nothing. Another one after `reserve`."""
        return self._layers[index]

    @property
    def capacity(self) -> int:
        return self._layers[0].shape[1]

    def reserve(self, positions: int) -> None:
        """Make room for `positions` in all; what is there stays."""
        if positions <= self.capacity:
            return
        wanted = max(positions, self.length + self.length // 2)
        capacity = -(-wanted // _STEP) * _STEP
        for index, old in enumerate(self._layers):
            new = old.new_empty(old.shape[0], capacity, old.shape[2])
            new[:, : self.length] = old[:, : self.length]
            self._layers[index] = new

    def store(self, layer: int, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the rows after `length`; room must be there. `length` is advanced by the caller, after all layers.

        Args:
            new: [rows, 2 * kv_heads, head_size], keys first.
        Returns:
            Keys and values of all positions, new ones included: views, [kv_heads, positions, head_size] each.
        """
        rows = new.shape[0]
        buffer = self._layers[layer]
        buffer.narrow(1, self.length, rows).copy_(new.transpose(0, 1))
        filled = buffer.narrow(1, 0, self.length + rows)
        return filled.narrow(0, 0, self.kv_heads), filled.narrow(0, self.kv_heads, self.kv_heads)
