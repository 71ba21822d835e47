"""The keys of emacs and readline that `TextArea` lacks, and a kill buffer for those that delete.

ctrl+a and ctrl+e go to the edges of the line: TextArea's own go to those of a row where the line is wrapped. ctrl+d is its own.
"""

from __future__ import annotations

import re
from typing import Final

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, Outcome, line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.words import word_end, word_start

KILLS: Final = ("ctrl+k", "ctrl+u", "ctrl+w", "alt+d", "alt+delete")

KEYS: Final = frozenset({
    *KILLS, "ctrl+f", "ctrl+b", "ctrl+n", "ctrl+p", "ctrl+y", "ctrl+t", "alt+f", "alt+b", "ctrl+underscore",
})  # fmt: skip
"""The keys that no action can have with this way of editing."""


class Emacs:
    """Kills in a row make one text, as in emacs; ctrl+y inserts it."""

    label = ""
    takes_enter = False
    is_writing = True

    def __init__(self) -> None:
        self._killed = ""
        self._is_killing = False
        """The last key was a kill: the next one adds to it."""

    def begin(self) -> None:
        self._is_killing = False

    def load(self, text: str) -> None:
        self._is_killing = False

    def press(self, key: str, character: str | None, buffer: Buffer) -> Outcome:
        if key in KILLS:
            return self._kill(*_killed_by(key, buffer), buffer)
        self._is_killing = False
        text, at = buffer.text, buffer.at
        match key:
            case "ctrl+a":
                return Buffer(text, line_start(text, at))
            case "ctrl+e":
                return Buffer(text, line_end(text, at))
            case "ctrl+f":
                return Buffer(text, min(len(text), at + 1))
            case "ctrl+b":
                return Buffer(text, max(0, at - 1))
            case "alt+f":
                return Buffer(text, min(len(text), word_end(text, at - 1) + 1))
            case "alt+b":
                return Buffer(text, word_start(text, at))
            case "ctrl+n":
                return "newer"
            case "ctrl+p":
                return "older"
            case "ctrl+underscore":
                return "undo"
            case "ctrl+y":
                return Buffer(text[:at] + self._killed + text[at:], at + len(self._killed))
            case "ctrl+t":
                return _transposed(text, at)
            case _:
                return None

    def _kill(self, start: int, end: int, buffer: Buffer) -> Buffer:
        text, killed = buffer.text, buffer.text[start:end]
        before = self._killed if self._is_killing else ""
        if killed:
            self._killed = killed + before if start < buffer.at else before + killed
            self._is_killing = True
        return Buffer(text[:start] + text[end:], start)


def _killed_by(key: str, buffer: Buffer) -> tuple[int, int]:
    text, at = buffer.text, buffer.at
    match key:
        case "ctrl+k":  # at the end of a line, its newline
            end = line_end(text, at)
            return at, min(len(text), end + 1) if end == at else end
        case "ctrl+u":
            return line_start(text, at), at
        case "ctrl+w":  # as in readline, a word ends at a blank
            match = re.search(r"\S*\s*\Z", text[:at])
            return match.start() if match else at, at
        case _:
            return at, min(len(text), word_end(text, at - 1) + 1)


def _transposed(text: str, at: int) -> Buffer:
    """Exchange the characters around the cursor, at the end of a line those before it, and step over them."""
    if at == line_end(text, at):
        at -= 1
    if at <= line_start(text, at) or len(text) < 2:
        return Buffer(text, max(0, at))
    return Buffer(text[: at - 1] + text[at] + text[at - 1] + text[at + 1 :], at + 1)
