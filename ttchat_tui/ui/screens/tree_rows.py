"""The rows of the tree view: every message of a conversation on a line, branches indented."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip
from textual.style import Style

from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.domain.reply_settings import differing, setting_words
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import one_line, visible
from ttchat_tui.domain.thoughts import extract_answer, extract_thoughts
from ttchat_tui.session import plain_words
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.transcript.message_format import clock_time

_WIDEST_AUTHOR: Final = 24
_TIME_SHARE: Final = 6
"""The time is shown if it takes at most this part of the row."""
_ENDINGS: Final = {"error": "failed", "interrupted": "stopped", "streaming": "writing"}


class TreeRow(msgspec.Struct, frozen=True, gc=False):
    """One message."""

    entry: OutlineEntry
    depth: int
    """0: the trunk, which is the newest version at each fork."""
    is_fork: bool
    """It begins a branch: it has siblings."""
    is_open: bool
    """It is on screen."""
    settings: tuple[str, ...] = ()
    """What differs from its siblings: `temperature 0.2`."""
    hangs: bool = False
    """It is not the last of its siblings: one level deeper, and drawn as a branch off the line of the last one."""
    author: str = ""
    """A short name for who wrote it; empty: `author_of`. Of a tree with one model, each row need not have its name."""


def rows_of(entries: Sequence[OutlineEntry], open_ids: Collection[int]) -> list[TreeRow]:
    """The rows in the order of the tree. The versions of a message are in order of creation, whichever is on screen: the map
    stays as it is between two looks. The last one is at the level of what comes before it, the others one level deeper.

    `entries`: in order of creation, parents before children.
    """
    known, opened = {entry.id for entry in entries}, set(open_ids)
    children: dict[int | None, list[OutlineEntry]] = defaultdict(list)
    for entry in entries:
        children[entry.parent_id if entry.parent_id in known else None].append(entry)
    is_one_model = len({entry.model for entry in entries if entry.role != "user"}) == 1
    rows: list[TreeRow] = []
    waiting: list[tuple[OutlineEntry, int, bool, tuple[str, ...], bool]] = []

    def push(parent_id: int | None, depth: int) -> None:
        below = children.get(parent_id, [])
        if len(below) == 1:
            waiting.append((below[0], depth, False, (), False))
            return
        names = _differing(tuple(each.sampling for each in below if each.sampling is not None))
        for each in reversed(below):  # a stack: the last comes first
            words = tuple(setting_words(each.sampling, names)) if each.sampling is not None else ()
            hangs = each is not below[-1]
            waiting.append((each, depth + hangs, True, words, hangs))

    push(None, 0)
    while waiting:
        entry, depth, is_fork, settings, hangs = waiting.pop()
        author = "Reply" if is_one_model and entry.role != "user" else ""
        rows.append(TreeRow(entry, depth, is_fork, entry.id in opened, settings, hangs, author))
        push(entry.id, depth)
    return rows


def matching(rows: Sequence[TreeRow], typed: str) -> list[TreeRow]:
    """The rows with every word of `typed`, in any order and case: in the beginning of the message, its branch's name, who
    wrote it, or what is special about it."""
    words = typed.casefold().split()
    return [row for row in rows if not words or _has_words(row, words)]


def _has_words(row: TreeRow, words: Sequence[str]) -> bool:
    entry = row.entry
    who = "You" if entry.role == "user" else entry.model
    text = " ".join((entry.beginning, who, entry.branch_name, *marks_of(row))).casefold()
    return all(word in text for word in words)


@lru_cache(maxsize=256)
def _differing(samplings: tuple[SamplingParams, ...]) -> list[str]:
    return differing(samplings)


def author_of(entry: OutlineEntry) -> str:
    """`You`, or the model's name."""
    return "You" if entry.role == "user" else visible(entry.model) or "Assistant"


def beginning_of(entry: OutlineEntry) -> str:
    """The beginning of the message on one line without markers; of a reply that of the answer, or of its thoughts if they are longer than what
    the outline has."""
    text = entry.beginning
    if entry.role == "assistant":
        text = extract_answer(text) or extract_thoughts(text)
    return one_line(plain_words(text))


def marks_of(row: TreeRow) -> list[str]:
    """What is special about the message."""
    entry = row.entry
    edited = ["edited"] if entry.is_edited else []
    ending = [_ENDINGS[entry.status]] if entry.status in _ENDINGS else []
    return [*row.settings, *edited, *ending]


class RowStyles(msgspec.Struct, frozen=True):
    """The looks of the parts of a row."""

    plain: Style
    muted: Style
    accent: Style
    name: Style


def strip_of(row: TreeRow, width: int, styles: RowStyles) -> Strip:
    """The row on one line: guides, whether it is open, the branch's name, who, what is special, its beginning, the time."""
    entry = row.entry
    when = f" {clock_time(entry.created_at)} "
    when = when if len(when) <= width // _TIME_SHARE else " "
    name = cut_to_cells(visible(entry.branch_name), width // 4)
    pieces = [
        (guides_of(row, width), styles.muted),
        ("● " if row.is_open else "○ ", styles.accent if row.is_open else styles.muted),
        (f"“{name}” " if name else "", styles.name),
        (
            cut_to_cells(row.author or author_of(entry), min(_WIDEST_AUTHOR, width // 5)),
            styles.plain if entry.role == "user" else styles.accent,
        ),
        (cut_to_cells("".join(f" · {mark}" for mark in marks_of(row)), width // 3), styles.muted),
        (f"  {beginning_of(entry)}", styles.plain if row.is_open else styles.muted),
    ]
    room = width - cell_len(when)
    shown: list[Segment] = []
    for text, style in pieces:
        text = cut_to_cells(text, room)
        room -= cell_len(text)
        shown.append(Segment(text, style.rich_style))
    shown.append(Segment(pad_to_cells("", room) + when, styles.muted.rich_style))
    return Strip([segment for segment in shown if segment.text], width)


def guides_of(row: TreeRow, width: int) -> str:
    """The lines of the branches that this one hangs off; the outer ones are left out if they would fill the row. The last of
    several versions hangs there like the others, and what follows it goes straight on."""
    is_last = row.is_fork and not row.hangs
    depth = row.depth + is_last
    if not depth:
        return ""
    most = max(1, width // 8)
    left_out = "… " if depth > most else ""
    return left_out + "│ " * (min(depth, most) - 1) + ("├─" if row.hangs else "└─" if is_last else "│ ")
