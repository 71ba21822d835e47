"""Undo by commands: the edits since the last step, whoever made them, are one step."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, difference

MOST_STEPS: Final = 1_000


class _Step(NamedTuple):
    start: int
    removed: str
    inserted: str


class Undo:
    """The steps from one text to the next."""

    def __init__(self) -> None:
        self._text = ""
        self._past: deque[_Step] = deque(maxlen=MOST_STEPS)
        self._future: list[_Step] = []

    def forget(self, text: str) -> None:
        """Begin with another text."""
        self._text = text
        self._past.clear()
        self._future.clear()

    def note(self, text: str) -> None:
        """End a step, if the text has changed since the last one."""
        if text == self._text:
            return
        start, end, inserted = difference(self._text, text)
        self._past.append(_Step(start, self._text[start:end], inserted))
        self._future.clear()
        self._text = text

    def undo(self) -> Buffer | None:
        """The text before the last step, and the place of the change; None if there is no step."""
        if not self._past:
            return None
        start, removed, inserted = step = self._past.pop()
        self._future.append(step)
        return self._replaced(start, inserted, removed)

    def redo(self) -> Buffer | None:
        """The text after the step that was undone last; None if there is none."""
        if not self._future:
            return None
        start, removed, inserted = step = self._future.pop()
        self._past.append(step)
        return self._replaced(start, removed, inserted)

    def _replaced(self, start: int, old: str, new: str) -> Buffer:
        self._text = self._text[:start] + new + self._text[start + len(old) :]
        return Buffer(self._text, start)
