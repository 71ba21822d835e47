"""KV cache of a batch: one copy of the prompt's keys and values, and a tail for each row."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.forward.kv_cache import KVCache

_STEP: Final = 64
"""Positions by which tails grow at least. Long ones grow by a half."""


class KVFork:
    """One array for each layer, [2, rows, kv_heads, tiles, width of a tile], keys first.

    Tails begin with the prompt's last tile if it is not full, a copy for each row, so that all hold whole tiles.

    Live rows occupy the first slots, so that a step runs over them as one block: a row that is frozen swaps places with
    the last live one. All live rows have the same `length`, because they start and step together.
    """

    def __init__(self, prompt: KVCache, rows: int) -> None:
        self.prompt = prompt
        """Shared by all rows. Its length must not change."""
        self.rows = rows
        """Live and frozen ones."""
        self.start = prompt.length
        """Positions of the prompt."""
        self.shared = prompt.length - prompt.length % prompt.format.tile
        """Those before the tails: the prompt's full tiles."""
        self.arrays = [self._first_tails(layer) for layer in prompt.arrays]
        """By layer. `reserve` replaces them."""
        self.addresses: list[int] = [array.ctypes.data for array in self.arrays]
        """Of the arrays."""
        self._slots = list(range(rows))
        """Row numbers, live ones first."""
        self._live = rows
        self._lengths = [0] * rows
        """Positions of each row, frozen ones included."""
        self.length = 0
        """Positions that each live row added."""

    @property
    def slots(self) -> list[int]:
        """Numbers of the live rows, in the order in which a forward takes them."""
        return self._slots[: self._live]

    @property
    def capacity(self) -> int:
        """Positions that fit into each tail."""
        return self.arrays[0].shape[3] * self.prompt.format.tile

    @property
    def is_long(self) -> bool:
        return self.prompt.is_long

    @property
    def position(self) -> int:
        """The next position of every live row."""
        return self.start + self.length

    def next_positions(self, rows: int) -> range:
        """The next position of the `rows` live rows: all have the same."""
        assert rows == self._live
        return range(self.position, self.position + 1)

    def freeze(self, row: int) -> None:
        """Take `row` out of the batch. Its tail is kept for `give_back`."""
        slot, last = self._slots.index(row), self._live - 1
        assert slot <= last, "frozen already"
        self._live = last
        if slot == last:
            return
        self._slots[slot], self._slots[last] = self._slots[last], self._slots[slot]
        used = self._tiles(self.length)
        for layer in self.arrays:
            held = layer[:, [last, slot], :, :used]  # A copy, because it is indexed by a list.
            layer[:, slot, :, :used] = held[:, 0]
            layer[:, last, :, :used] = held[:, 1]

    def reserve(self, rows: int) -> None:
        """Make room for one more position of each of the `rows` live rows."""
        assert rows == self._live
        held = self.position - self.shared
        if held < self.capacity:
            return
        capacity = -(-(held + max(held // 2, 1)) // _STEP) * _STEP
        used = self._tiles(self.length)
        for index, old in enumerate(self.arrays):
            new = np.empty((*old.shape[:3], self.prompt.format.tiles(capacity), old.shape[4]), old.dtype)
            new[:, :, :, :used] = old[:, :, :, :used]
            self.arrays[index] = new
        self.addresses = [array.ctypes.data for array in self.arrays]

    def advance(self, rows: int) -> None:
        """The position that was stored in every layer becomes valid for each of the `rows` live rows."""
        assert rows == self._live
        self.length += 1
        for row in self.slots:
            self._lengths[row] = self.length

    def give_back(self, row: int, positions: int) -> None:
        """Append the first `positions` that a row added to the prompt's cache."""
        assert self.prompt.length == self.start
        assert positions <= self._lengths[row]
        slot = self._slots.index(row)
        self.prompt.reserve(positions)
        first, used = self.prompt.format.tiles(self.shared), self._tiles(positions)
        for array, tails in zip(self.prompt.arrays, self.arrays, strict=True):
            of_row = tails[:, slot, :, :used]
            array[:, first : first + used] = of_row.reshape(-1, *of_row.shape[2:])
        self.prompt.advance(positions)

    def _tiles(self, positions: int) -> int:
        """Tiles of a tail to which so many positions were added."""
        return self.prompt.format.tiles(self.start - self.shared + positions)

    def _first_tails(self, prompt: NDArray[Any]) -> NDArray[Any]:
        """Tails of one layer without positions of their own."""
        last = prompt[:, self.prompt.format.tiles(self.shared) : self.prompt.format.tiles(self.start)]
        heads = last.reshape(2, 1, self.prompt.kv_heads, *last.shape[1:])
        return np.repeat(heads, self.rows, axis=1)
