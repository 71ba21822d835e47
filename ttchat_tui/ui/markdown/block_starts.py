"""Recognisers for the starts of blocks: CommonMark 0.31 and GFM's tables. Pure functions."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.rules_block.html_block import HTML_SEQUENCES

from ttchat_tui.ui.markdown import maths
from ttchat_tui.ui.markdown.blocks import Align

_ATX: Final = re.compile(r"(#{1,6})(?: +|$)(.*)")
_ATX_CLOSE: Final = re.compile(r"(?:^| +)#+ *$")
_SETEXT: Final = re.compile(r"(=+|-+) *$")
_RULE: Final = re.compile(r"(?:(?:\* *){3,}|(?:_ *){3,}|(?:- *){3,})$")
_FENCE: Final = re.compile(r"(`{3,})([^`]*)$|(~{3,})(.*)$")
_MARKER: Final = re.compile(r"([-+*])(?= |$)|(\d{1,9})([.)])(?= |$)")
_TABLE_LINE: Final = re.compile(r"[-:|](?:[-:|]|(?<!^-) )[-:| ]*$")
_TABLE_CELL: Final = re.compile(r":?-+:?$")
_TASK: Final = re.compile(r"\[([ xX])\] +(?=\S)")


class Heading(NamedTuple):
    level: int
    text: str


class Fence(NamedTuple):
    marker: str
    info: str


class Marker(NamedTuple):
    """A list item's marker."""

    delimiter: str
    number: int
    indent: int
    """Columns from the marker's first character to the content."""
    is_blank: bool
    """Nothing follows the marker on its line."""


class HtmlStart(NamedTuple):
    end: re.Pattern[str]
    ends_at_blank: bool
    can_interrupt: bool
    """It may interrupt a paragraph; only an unknown tag may not."""


def atx_heading(text: str) -> Heading | None:
    match = _ATX.match(text)
    return Heading(len(match[1]), _ATX_CLOSE.sub("", match[2]).strip()) if match else None


def setext_level(text: str) -> int:
    """1 for an underline of `=`, 2 for one of `-`, 0 for anything else."""
    match = _SETEXT.match(text)
    return 0 if match is None else 1 if match[1][0] == "=" else 2


def is_rule(text: str) -> bool:
    return _RULE.match(text) is not None


def fence(text: str) -> Fence | None:
    match = _FENCE.match(text)
    if match is None:
        return None
    return Fence(match[1] or match[3], unescapeAll((match[2] or match[4] or "").strip()))


def closes_fence(text: str, marker: str) -> bool:
    """Whether `text` (without indent) consists of the marker's character, at least as often as in the marker."""
    bare = text.rstrip(" ")
    return len(bare) >= len(marker) and not bare.strip(marker[0])


def html_start(text: str) -> HtmlStart | None:
    """The start of one of CommonMark's HTML blocks."""
    if not text.startswith("<"):
        return None
    for start, end, can_interrupt in HTML_SEQUENCES:
        if start.search(text):
            return HtmlStart(end, end.search("") is not None, can_interrupt)
    return None


def list_marker(text: str) -> Marker | None:
    match = _MARKER.match(text)
    if match is None:
        return None
    width = match.end()
    spaces = len(text) - width - len(text[width:].lstrip(" "))
    is_blank = width + spaces >= len(text)
    # Five spaces or more begin indented code, one column after the marker.
    indent = width + (1 if is_blank or spaces > 4 else spaces)
    return Marker(match[1] or match[3], int(match[2] or 0), indent, is_blank)


def task_state(text: str) -> tuple[bool, str] | None:
    """For `[x] text` and `[ ] text`: whether it is done, and the text."""
    match = _TASK.match(text)
    return None if match is None else (match[1] != " ", text[match.end() :])


def table_aligns(header: str, text: str) -> tuple[Align, ...]:
    """The alignment of each column if `text` is the delimiter line under `header`; empty if it is not."""
    if "|" not in header or not _TABLE_LINE.match(text):
        return ()
    cells = [cell.strip() for cell in text.split("|")]
    if not cells[0]:
        cells.pop(0)
    if cells and not cells[-1]:
        cells.pop()
    if not cells or not all(_TABLE_CELL.match(cell) for cell in cells):
        return ()
    readings = (
        _split(header),
        _split(header, keeps_formulas=True),
        _split(header, keeps_code=False),
    )
    if all(len(reading) != len(cells) for reading in readings):
        return ()
    return tuple(_align(cell) for cell in cells)


def _align(cell: str) -> Align:
    if cell.endswith(":"):
        return "center" if cell.startswith(":") else "right"
    return "left" if cell.startswith(":") else ""


def table_cells(line: str, columns: int = 0) -> list[str]:
    r"""The cells of a table's line, outer pipes dropped; `\|` is a pipe inside a cell, and so is one in a code span.

    GFM splits there and drops cells beyond `columns`. But models write such pipes unescaped: in a line with too many cells,
    pipes in formulas do not split, and further cells are joined to the last one.
    """
    cells = _split(line)
    if columns and len(cells) > columns:
        cells = _split(line, keeps_formulas=True)
        cells[columns - 1 :] = [" | ".join(cells[columns - 1 :])]
    return cells


_CELL_MARK: Final = re.compile(r"\\\||(?P<code>`+)|(?P<pipe>\|)|\\.|\$")
"""The tokens of a table's line: escapes, code spans, formulas, and pipes that end cells."""


def _split(line: str, *, keeps_code: bool = True, keeps_formulas: bool = False) -> list[str]:
    text = line.strip()
    cells = [""]
    at = 0
    endless: set[str] = set()
    while match := _CELL_MARK.search(text, at):
        cells[-1] += text[at : match.start()]
        at = match.end()
        if match["pipe"]:
            cells.append("")
        elif keeps_formulas and (end := _end_of_formula(text, match.start(), endless)):
            cells[-1] += text[match.start() : end]
            at = end
        else:
            at = _end_of_code(text, at, match["code"], endless) if keeps_code and match["code"] else at
            cells[-1] += text[match.start() : at].replace("\\|", "|")
    cells[-1] += text[at:]
    if not cells[0]:
        cells.pop(0)
    if cells and not cells[-1]:
        cells.pop()
    return [cell.strip() for cell in cells]


def _end_of_formula(text: str, at: int, endless: set[str]) -> int:
    """The offset after the formula that starts at `text[at]`; 0 if none does. `endless` keeps the search linear."""
    opener = maths.opener_at(text, at)
    if not opener or opener in endless:
        return 0
    end = maths.end_of(text, at, opener)
    if not end and opener != "$":
        endless.add(opener)
    return end


def _end_of_code(text: str, at: int, ticks: str, endless: set[str]) -> int:
    """The offset after the code span whose opening `ticks` end at `at`; `at` if it is not one."""
    close = None if ticks in endless else re.compile(f"(?<!`){ticks}(?!`)").search(text, at)
    if close is None:
        endless.add(ticks)
    return close.end() if close else at


_DEFINITIONS: Final = MarkdownIt("zero").enable("reference")
"""A parser of link definitions and paragraphs only."""


def split_definitions(text: str, references: dict[str, object]) -> tuple[str, str]:
    """Add the link definitions at the head of a paragraph to `references`. Returns them, and the rest.

    Keys are normalised labels; values are as markdown-it's inline parser expects them. The first definition of a label
    wins.
    """
    if not text.startswith("["):
        return "", text
    env: dict[str, object] = {"references": references}
    tokens = _DEFINITIONS.parse(text, env)
    left = "\n".join(token.content for token in tokens if token.type == "inline").strip()
    lines = text.strip().split("\n")
    count = len(lines) - (left.count("\n") + 1 if left else 0)
    return "\n".join(lines[:count]), left
