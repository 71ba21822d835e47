"""vi's commands as they are typed, and what `.` needs to repeat them."""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.text_objects import NAMES, TextRange

_PREFIX: Final = r"(?:(?P<first>[1-9]\d*)?\"(?P<register>.))?(?P<count>[1-9]\d*)?"
_NAME: Final = rf"(?P<name>[ia][{re.escape(NAMES)}]|gg|[fFtTr].|[/?].*\n|[^\d]|0)"
_COMMAND: Final = re.compile(rf"{_PREFIX}(?:(?P<operator>[dcy])(?P<times>[1-9]\d*)?)?{_NAME}", re.DOTALL)
_VISUAL: Final = re.compile(rf"{_PREFIX}{_NAME}", re.DOTALL)

_BEGUN: Final = r"(?:(?:[1-9]\d*)?\".?)?(?:[1-9]\d*)?"
_UNFINISHED: Final = re.compile(rf"{_BEGUN}(?:[dcy](?:[1-9]\d*)?[ia]?)?[gfFtTr]?")
_UNFINISHED_VISUAL: Final = re.compile(rf"{_BEGUN}[gfFtTria]?")
_LINE: Final = re.compile(r"(?:[1-9]\d*)?(?:\".)?(?:[1-9]\d*)?(?:[dcy](?:[1-9]\d*)?)?[/?][^\n]*|:[^\n]*")

_SHORT: Final = {"x": "dl", "X": "dh", "D": "d$", "C": "c$", "s": "cl", "S": "cc", "Y": "yy"}
INSERTS: Final = "iaIAoO"

MOST: Final = 9_999
"""The highest count."""
MOST_INSERTED: Final = 1_000_000
"""Characters that a count may make of an insertion."""


class Extent(NamedTuple):
    """The size of a selection, for the next time: lines after the first, and characters of the last line."""

    lines: int
    width: int
    is_lines: bool


class TextChange(NamedTuple):
    """What was written in insert mode: from and to, counted from where it began, and what is there instead."""

    start: int
    end: int
    text: str


class Command(NamedTuple):
    operator: str
    name: str
    times: int | None = None
    register: str = ""
    extent: Extent | None = None
    """It acts on a selection of this size."""
    edit: TextChange | None = None


def is_unfinished(typed: str, *, is_selecting: bool) -> bool:
    """Whether more keys may follow."""
    unfinished = _UNFINISHED_VISUAL if is_selecting else _UNFINISHED
    return unfinished.fullmatch(typed) is not None or is_line(typed)


def is_line(typed: str) -> bool:
    """Whether words to search for are being typed, or a `:` command, of which there is none; a newline ends them."""
    return _LINE.fullmatch(typed) is not None


def parse(typed: str, *, is_selecting: bool) -> Command | None:
    """The command, or None if it is none. `x` and its like are operators on movements."""
    match = (_VISUAL if is_selecting else _COMMAND).fullmatch(typed)
    if match is None:
        return None
    groups = match.groupdict()
    given = [min(int(each[:5]), MOST) for name in ("first", "count", "times") if (each := groups.get(name))]
    count = min(math.prod(given), MOST) if given else None
    operator, name = groups.get("operator") or "", match["name"]
    if not is_selecting and not operator and name in _SHORT:
        operator, name = _SHORT[name]
    return Command(operator, name, count, match["register"] or "")


def extent_of(low: int, high: int, text: str, *, is_lines: bool) -> Extent:
    lines = text.count("\n", low, high)
    return Extent(lines, high + 1 - (line_start(text, high) if lines else low), is_lines)


def span_of(extent: Extent, buffer: Buffer) -> TextRange:
    """As much text from the cursor on."""
    text, start = buffer.text, buffer.at
    last = start
    for _ in range(extent.lines):
        end = line_end(text, last)
        if end == len(text):
            break
        last = end + 1
    if extent.is_lines:
        return TextRange(start, last, is_lines=True)
    if extent.lines:  # to the same column as then, perhaps before the cursor
        last = line_start(text, last)
        low, high = sorted((start, min(last + extent.width - 1, line_end(text, last))))
        return TextRange(low, min(high + 1, len(text)))
    return TextRange(start, min(start + extent.width, line_end(text, start) + 1, len(text)))
