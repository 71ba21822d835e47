"""The inspector's line of keys: those that work now, as many as there is room for. The help (F1) lists all."""

from __future__ import annotations

from itertools import accumulate
from typing import Final, Literal, TypeAlias

from rich.cells import cell_len
from textual.widgets import Static

State: TypeAlias = Literal["ended", "running", "paused", "at the latest token"]
"""Of the reply. The latest token of a paused one can be another, if the engine can do that."""

_BIAS: Final = ("x ban", "+- boost")
_TEXT: Final = {
    "ended": ("enter fork", "e edit", *_BIAS, "s sampler", "t tint", "n/N doubtful", "<> limit"),
    "refused": ("enter alternatives", *_BIAS, "s sampler", "t tint", "n/N doubtful", "<> limit"),
    "running": ("space pause", ". one token", "x/X ban", "+- boost", "t tint"),
    "paused": ("space resume", ". one token", "x/X ban", "+- boost", "t tint"),
    "at the latest token": ("space resume", ". one token", "enter choose", *_BIAS),
}
_LIST: Final = {
    "ended": ("↑↓ choose", "enter fork here", *_BIAS, "← text"),
    "refused": ("↑↓ look", *_BIAS, "← text"),
    "at the latest token": ("↑↓ choose", "enter write this", *_BIAS, "← text"),
}
_GAP: Final = "  "


def keys_for(state: State, *, is_in_list: bool, is_refused: bool) -> tuple[str, ...]:
    """The most important first. `is_refused`: the model cannot continue after another token."""
    shown = _LIST if is_in_list else _TEXT
    return shown["refused" if is_refused and (is_in_list or state == "ended") else state]


class KeyHints(Static):
    """The line, below a sentence where there is one. Keys that do not fit are left out, each as a whole."""

    def __init__(self) -> None:
        super().__init__("", classes="hint", markup=False)
        self._why = ""
        self._keys: tuple[str, ...] = ()

    def show(self, why: str, keys: tuple[str, ...]) -> None:
        self._why, self._keys = why, keys
        self._write()

    def on_resize(self) -> None:
        self._write()

    def _write(self) -> None:
        ends = accumulate(cell_len(key) + len(_GAP) for key in self._keys)
        room = self.size.width + len(_GAP)
        keys = _GAP.join(key for key, end in zip(self._keys, ends, strict=True) if end <= room)
        if self.content != (words := f"{self._why}\n{keys}".strip()):
            self.update(words)
