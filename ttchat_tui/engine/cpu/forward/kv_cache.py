"""Keys and values of every position so far, preallocated and grown in steps."""

from __future__ import annotations

from typing import Final

import torch

from ttchat_tui.engine.cpu.weights import large_pages

_STEP: Final = 512
"""Positions by which a cache grows at least; beyond that it grows by a half, so that copying stays linear."""


class KVCache:
    """For each layer one tensor [2 * kv_heads, capacity, head_size]: keys first, then values; float32, or float16 where the
    compiled kernel reads it.

    `length` is the number of valid positions. Cropping is setting it back: what lies behind is overwritten.
    """

    def __init__(
        self, layers: int, kv_heads: int, head_size: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.kv_heads = kv_heads
        self.head_size = head_size
        self._layers = [torch.empty(2 * kv_heads, 0, head_size, dtype=dtype) for _ in range(layers)]
        self.length = 0

    @property
    def layers(self) -> int:
        return len(self._layers)

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Of each layer, as `layer` gives them."""
        return self._layers

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
        old = self._layers
        # One piece for all layers: a layer by itself is often smaller than a large page.
        block = large_pages.empty((len(old), old[0].shape[0], capacity, self.head_size), old[0].dtype)
        self._layers = list(block.unbind())
        for layer, before in zip(self._layers, old, strict=True):
            layer[:, : self.length] = before[:, : self.length]

    def store(self, layer: int, new: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the rows after `length`; room must be there. `length` is advanced by the caller, after all layers.

        Args:
            new: [rows, 2 * kv_heads, head_size], keys first.
        Returns:
            Keys and values of all positions, new ones included: float32 [kv_heads, positions, head_size] each; views where
            the cache is float32.
        """
        rows = new.shape[0]
        buffer = self._layers[layer]
        buffer.narrow(1, self.length, rows).copy_(new.transpose(0, 1))
        filled = buffer.narrow(1, 0, self.length + rows).float()
        return filled.narrow(0, 0, self.kv_heads), filled.narrow(0, self.kv_heads, self.kv_heads)
