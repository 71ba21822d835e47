"""KV cache of a batch: one copy of the prompt's keys and values, and a tail for each row."""

from __future__ import annotations

from typing import Final

import torch

from ttchat_tui.engine.cpu.forward.kv_cache import KVCache

_STEP: Final = 64
"""Positions by which tails grow at least. Long ones grow by a half."""


class KVFork:
    """One tensor for each layer, [2, rows, kv_heads, capacity, head_size], keys first.

    Live rows occupy the first slots, so that a step runs over them as one block: a row that is frozen swaps places with
    the last live one. All live rows have the same `length`, because they start and step together.
    """

    def __init__(self, prompt: KVCache, rows: int) -> None:
        self.prompt = prompt
        """Shared by all rows. Its length must not change."""
        self.rows = rows
        """Live and frozen ones."""
        self.tensors = [
            tensor.new_empty(2, rows, prompt.kv_heads, 0, prompt.head_size) for tensor in prompt.tensors
        ]
        """By layer. `reserve` replaces them."""
        self._start = prompt.length
        self._slots = list(range(rows))
        """Row numbers, live ones first."""
        self._live = rows
        self._lengths = [0] * rows
        """Positions of each row, frozen ones included."""
        self.length = 0
        """Positions of each live row's tail."""

    @property
    def slots(self) -> list[int]:
        """Numbers of the live rows, in the order in which a forward takes them."""
        return self._slots[: self._live]

    @property
    def capacity(self) -> int:
        """Positions that fit into each tail."""
        return self.tensors[0].shape[3]

    @property
    def is_long(self) -> bool:
        return self.prompt.is_long

    @property
    def position(self) -> int:
        """The next position of every live row."""
        return self._start + self.length

    def next_positions(self, rows: int) -> range:
        """The next position of the `rows` live rows: all have the same."""
        assert rows == self._live
        return range(self.position, self.position + 1)

    @torch.inference_mode()
    def freeze(self, row: int) -> None:
        """Take `row` out of the batch. Its tail is kept for `give_back`."""
        slot, last = self._slots.index(row), self._live - 1
        assert slot <= last, "frozen already"
        self._live = last
        if slot == last:
            return
        self._slots[slot], self._slots[last] = self._slots[last], self._slots[slot]
        for layer in self.tensors:
            held = layer[:, [last, slot], :, : self.length]  # A copy, because it is indexed by a list.
            layer[:, slot, :, : self.length] = held[:, 0]
            layer[:, last, :, : self.length] = held[:, 1]

    def reserve(self, rows: int) -> None:
        """Make room for one more position of each of the `rows` live rows."""
        assert rows == self._live
        if self.length < self.capacity:
            return
        capacity = -(-(self.length + max(self.length // 2, 1)) // _STEP) * _STEP
        for index, old in enumerate(self.tensors):
            new = old.new_empty(*old.shape[:3], capacity, old.shape[4])
            new[:, :, :, : self.length] = old[:, :, :, : self.length]
            self.tensors[index] = new

    def store(self, layer: int, new: torch.Tensor, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one position of one layer for each live row. There must be room; `advance` follows after the last layer.

        Args:
            new: [live rows, 2 * kv_heads, head_size], keys first, in the order of `slots`.
            window: positions that a row sees, its newest included; 0 is all.
        Returns:
            What the rows see, as views, keys first: of the prompt [2, kv_heads, positions, head_size], and of their tails
            [2, live rows * kv_heads, positions, head_size].
        """
        live, heads = new.shape[0], self.prompt.kv_heads
        buffer = self.tensors[layer].narrow(1, 0, live)
        buffer.select(3, self.length).copy_(new.view(live, 2, heads, -1).transpose(0, 1))
        hidden = max(0, self.position + 1 - window) if window else 0
        of_prompt = min(hidden, self._start)
        of_tail = hidden - of_prompt
        prompt = self.prompt.tensors[layer].narrow(1, of_prompt, self._start - of_prompt)
        tails = buffer.flatten(1, 2).narrow(2, of_tail, self.length + 1 - of_tail)
        return prompt.view(2, heads, *prompt.shape[1:]), tails

    def advance(self, rows: int) -> None:
        """The position that was stored in every layer becomes valid for each of the `rows` live rows."""
        assert rows == self._live
        self.length += 1
        for row in self.slots:
            self._lengths[row] = self.length

    @torch.inference_mode()
    def give_back(self, row: int, positions: int) -> None:
        """Append the first `positions` of a row's tail to the prompt's cache."""
        assert self.prompt.length == self._start
        assert positions <= self._lengths[row]
        slot = self._slots.index(row)
        self.prompt.reserve(positions)
        for tensor, tails in zip(self.prompt.tensors, self.tensors, strict=True):
            target = tensor.narrow(1, self._start, positions)
            target.copy_(tails[:, slot, :, :positions].flatten(0, 1))
        self.prompt.advance(positions)
