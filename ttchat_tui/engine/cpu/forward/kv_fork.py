"""What the rows of a batch add to a prompt that they share: one copy of the prompt's keys and values, a tail each."""

from __future__ import annotations

from typing import Final

import torch

from ttchat_tui.engine.cpu.forward.kv_cache import KVCache

_STEP: Final = 64
"""Positions by which tails grow at least; beyond that they grow by a half."""


class KVFork:
    """For each layer one tensor [2, rows, kv_heads, capacity, head_size]: keys first, then values.

    Live rows stand in the first slots, so that a step runs over them as one block; a row that is frozen changes
    places with the last of them. All live rows have the same `length`: they were forked and step together.
    """

    def __init__(self, prompt: KVCache, rows: int) -> None:
        self.prompt = prompt
        """Shared by all rows; as long as it was."""
        self.rows = rows
        """Live ones and frozen ones."""
        self._start = prompt.length
        self._layers = [
            prompt.layer(index).new_empty(2, rows, prompt.kv_heads, 0, prompt.head_size)
            for index in range(prompt.layers)
        ]
        self._slots = list(range(rows))
        """Row numbers, live ones first."""
        self._live = rows
        self._lengths = [0] * rows
        """Positions of each row, frozen ones too."""
        self.length = 0
        """Positions of each live row's tail; advanced by `advance`, after all layers."""

    @property
    def tensors(self) -> list[torch.Tensor]:
        """Of each layer; others after `reserve`."""
        return self._layers

    @property
    def slots(self) -> list[int]:
        """Numbers of the live rows, in the order in which `store` takes them."""
        return self._slots[: self._live]

    @property
    def capacity(self) -> int:
        """Positions that there is room for in each tail."""
        return self._layers[0].shape[3]

    @property
    def position(self) -> int:
        """Where the next id of every live row stands."""
        return self._start + self.length

    @torch.inference_mode()
    def freeze(self, row: int) -> None:
        """Row `row` takes part no more; what it has is kept for `give_back`."""
        slot, last = self._slots.index(row), self._live - 1
        assert slot <= last, "frozen already"
        self._live = last
        if slot == last:
            return
        self._slots[slot], self._slots[last] = self._slots[last], self._slots[slot]
        for layer in self._layers:
            held = layer[:, [last, slot], :, : self.length]  # A copy: indexed by a list.
            layer[:, slot, :, : self.length] = held[:, 0]
            layer[:, last, :, : self.length] = held[:, 1]

    def reserve(self) -> None:
        """Make room for one more position."""
        if self.length < self.capacity:
            return
        capacity = -(-(self.length + max(self.length // 2, 1)) // _STEP) * _STEP
        for index, old in enumerate(self._layers):
            new = old.new_empty(*old.shape[:3], capacity, old.shape[4])
            new[:, :, :, : self.length] = old[:, :, :, : self.length]
            self._layers[index] = new

    def store(self, layer: int, new: torch.Tensor, window: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one position for each live row; room must be there.

        Args:
            new: [live rows, 2 * kv_heads, head_size], keys first, in the order of `slots`.
            window: positions that a row sees, its newest included; 0 is all.
        Returns:
            What the rows see: of the prompt [2, kv_heads, positions, head_size], of their tails
            [2, live rows * kv_heads, positions, head_size]; keys first. Views.
        """
        live, heads = new.shape[0], self.prompt.kv_heads
        buffer = self._layers[layer].narrow(1, 0, live)
        buffer.select(3, self.length).copy_(new.view(live, 2, heads, -1).transpose(0, 1))
        hidden = max(0, self.position + 1 - window) if window else 0
        of_prompt = min(hidden, self._start)
        of_tail = hidden - of_prompt
        prompt = self.prompt.layer(layer).narrow(1, of_prompt, self._start - of_prompt)
        tails = buffer.flatten(1, 2).narrow(2, of_tail, self.length + 1 - of_tail)
        return prompt.view(2, heads, *prompt.shape[1:]), tails

    def advance(self) -> None:
        """The position that was stored in every layer counts."""
        self.length += 1
        for row in self.slots:
            self._lengths[row] = self.length

    @torch.inference_mode()
    def give_back(self, row: int, positions: int) -> None:
        """Copy the first `positions` of a row's tail behind the prompt, in the cache that the fork was made of."""
        assert self.prompt.length == self._start
        assert positions <= self._lengths[row]
        slot = self._slots.index(row)
        self.prompt.reserve(self._start + positions)
        for index, layer in enumerate(self._layers):
            target = self.prompt.layer(index).narrow(1, self._start, positions)
            target.copy_(layer[:, slot, :, :positions].flatten(0, 1))
        self.prompt.length = self._start + positions
