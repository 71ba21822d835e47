"""The draft as the ways of editing see it, and what a key may do to it."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol, TypeAlias


class Buffer(NamedTuple):
    """A text with a cursor before the character at `at`. From `anchor` to the cursor, text is selected. As input, `anchor` is
    needed only if the text has changed since the last key."""

    text: str
    at: int
    anchor: int | None = None


Command: TypeAlias = Literal["undo", "older", "newer"]
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

    @property
    def takes_enter(self) -> bool:
        """Enter ends what is being typed for a command, and sends nothing."""
        ...

    def press(self, key: str, character: str | None, buffer: Buffer) -> Outcome:
        """Handle a key. `key` is Textual's name of it, `character` what it types."""
        ...

    def begin(self) -> None:
        """Text is written now, whatever the mode was: a new draft, a paste."""
        ...

    def load(self, text: str) -> None:
        """Another text is in the field: what was done to the one before cannot be undone."""
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
    start = _longest(most, lambda size: before[:size] == after[:size])
    tail = _longest(most - start, lambda size: before[len(before) - size :] == after[len(after) - size :])
    return start, len(before) - tail, after[start : len(after) - tail]


def _longest(most: int, is_equal: Callable[[int], bool]) -> int:
    """The highest size up to `most` that is equal, by bisection: a draft may have a million characters."""
    return bisect.bisect_left(range(1, most + 1), True, key=lambda size: not is_equal(size))
