"""A cursor in lines of text that can be read but not changed, moved with the arrows or vi's keys."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ttchat_tui.ui.widgets.prompt.editing import Buffer, Vi

Outcome: TypeAlias = Literal["moved", "above", "below", "copy", "leave"]
"""What a key did or asks for. above, below: the cursor is on the first or the last line, and was to go further."""

_KEYS: Final = {
    "left": "h", "right": "l", "up": "k", "down": "j", "home": "0", "end": "$", "ctrl+left": "b", "ctrl+right": "w",
    "ctrl+home": "gg", "ctrl+end": "G", "space": "v", "pageup": "10k", "pagedown": "10j",
}  # fmt: skip

_COMMANDS: Final = frozenset("hjklwbe0^$gGv123456789")


def is_for_caret(key: str, is_printable: bool) -> bool:
    return is_printable or key in ("escape", "enter") or key.removeprefix("shift+") in _KEYS


class Point(NamedTuple):
    """A character: the number of its line, and its place in the line."""

    line: int
    column: int


class Caret:
    """`at` is where the cursor is, `start` where the selection begins; None: nothing is selected."""

    def __init__(self, at: Point) -> None:
        self.at = at
        self.start: Point | None = None
        self._vi = Vi()
        self._vi.press("escape", None, Buffer("", 0))

    def press(self, key: str, character: str | None, lines: Sequence[str]) -> Outcome:
        """Handle a key; unknown ones do nothing. `lines`: the text, in which `at` and `start` are."""
        is_extending = key.startswith("shift+") and key[6:] in _KEYS
        typed = _KEYS.get(key[6:] if is_extending else key, character or "")
        if key == "escape" and self.start is None:
            return "leave"
        if typed == "y" or key == "enter":
            return "leave" if self.start is None else "copy"
        if is_extending and self.start is None:
            typed = f"v{typed}"
        if key != "escape" and not _COMMANDS.issuperset(typed):
            return "moved"
        return self._feed([key] if key == "escape" else list(typed), lines)

    def _feed(self, keys: Sequence[str], lines: Sequence[str]) -> Outcome:
        starts = [0, *itertools.accumulate(len(line) + 1 for line in lines)][:-1]
        text, at = "\n".join(lines), starts[self.at.line] + self.at.column
        anchor = None if self.start is None else starts[self.start.line] + self.start.column
        outcome: Outcome = "moved"
        self._vi.load(text)  # the text changes by itself, and nothing is undone
        for key in keys:
            done = self._vi.press(key, key, Buffer(text, at, anchor))
            if isinstance(done, Buffer):
                at, anchor = done.at, done.anchor
            elif done in ("older", "newer"):
                outcome = "above" if done == "older" else "below"
        self.at = _point(starts, at)
        self.start = None if anchor is None else _point(starts, anchor)
        return outcome


def _point(starts: Sequence[int], at: int) -> Point:
    line = bisect.bisect_right(starts, at) - 1
    return Point(line, at - starts[line])
