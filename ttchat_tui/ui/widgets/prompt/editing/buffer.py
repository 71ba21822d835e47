"""The draft as the ways of editing see it, and what a key may do to it."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias


class Buffer(NamedTuple):
    """A text with a cursor before the character at `at`. From `anchor` to the cursor, text is selected. As input, `anchor` is
    needed only if the text has changed since the last key."""

    text: str
    at: int
    anchor: int | None = None


Command: TypeAlias = Literal["undo", "redo", "older", "newer"]
"""What only the prompt can do. older, newer: up and down, at the edge of the draft to other prompts."""

Outcome: TypeAlias = Buffer | Command | None
"""None: the key is not handled here, and does what it does in any field."""


class Editing(Protocol):
    """One way of editing, with its state."""

    @property
    def label(self) -> str:
        """The mode, for the prompt's border; empty: there is only one."""
        ...

    @property
    def is_writing(self) -> bool:
        """Letters are typed, and are no commands."""
        ...

    def press(self, key: str, character: str | None, buffer: Buffer) -> Outcome:
        """Handle a key. `key` is Textual's name of it, `character` what it types."""
        ...

    def begin(self) -> None:
        """Text is written now, whatever the mode was: a new draft, a paste."""
        ...


def line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """The index of the line's newline, or of the end of the text."""
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def location_of(text: str, at: int) -> tuple[int, int]:
    """Line and column of a character, from 0."""
    return text.count("\n", 0, at), at - line_start(text, at)


def index_of(text: str, location: tuple[int, int]) -> int:
    """The inverse of `location_of`."""
    line, column = location
    at = 0
    for _ in range(line):
        at = line_end(text, at) + 1
    return at + column


def difference(before: str, after: str) -> tuple[int, int, str]:
    """The one edit that makes `after` of `before`: from index, to index, and what is there instead."""
    most = min(len(before), len(after))
    start = next((at for at in range(most) if before[at] != after[at]), most)
    tail = next((at for at in range(most - start) if before[-1 - at] != after[-1 - at]), most - start)
    return start, len(before) - tail, after[start : len(after) - tail]
