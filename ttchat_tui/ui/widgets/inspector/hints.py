"""The inspector's line of keys: those that work now. The help (F1) lists all."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

State: TypeAlias = Literal["ended", "running", "paused", "at the latest token"]
"""Of the reply. The latest token of a paused one can be another, if the engine can do that."""

_TEXT: Final = {
    "ended": "enter fork  e edit  x+- bias  s sampler  t tint  n/N<>",
    "refused": "enter alternatives  x+- bias  s sampler  t tint  n/N<>",
    "running": "space pause  . one token  x/X ban  +- boost  t tint",
    "paused": "space resume  . one token  x/X ban  +- boost  t tint",
    "at the latest token": "space resume  . one token  enter choose  x ban  +- boost",
}
_LIST: Final = {
    "ended": "↑↓ choose  enter fork here  x ban  +- boost  ← text",
    "refused": "↑↓ look  x ban  +- boost  ← text",
    "at the latest token": "↑↓ choose  enter write this  x ban  +- boost  ← text",
}


def keys_for(state: State, *, is_in_list: bool, is_refused: bool) -> str:
    """`is_refused`: the model cannot continue after another token."""
    shown = _LIST if is_in_list else _TEXT
    return shown["refused" if is_refused and (is_in_list or state == "ended") else state]
