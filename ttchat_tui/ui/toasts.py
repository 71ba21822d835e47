"""How long a toast is shown, and which toasts make room for a new one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from textual.notifications import Notification

ROWS_EACH: Final = 12
"""Rows of the screen per toast; two toasts are always allowed."""

WIDTH: Final = 64
"""The most cells of a toast, as in shell.tcss, three of them beside its text."""

LONGEST_S: Final = 10.0

INTERRUPTED: Final = "Interrupted"
"""The title of the toast about replies that were cut off. Sending a message does not remove it: it is about something else."""

_RANK: Final = {"information": 0, "warning": 1, "error": 2}


def reading_time(message: str) -> float:
    """The default time-out in seconds: two to notice the toast, and one per 25 characters."""
    return min(2 + len(message) / 25, LONGEST_S)


def rows_of(shown: Sequence[Notification], cells: int) -> int:
    """About how many rows these toasts take, each with a blank one below it, where the text of one is `cells` wide."""
    texts = [f"{each.title}\n{each.message}" if each.title else each.message for each in shown]
    lines = [line for text in texts for line in text.splitlines()]
    # Words are wrapped as a whole: of each row, a part of a word may be blank.
    return len(texts) + sum(1 + cell_len(line) * 9 // (8 * max(1, cells)) for line in lines)


def to_drop(shown: Sequence[Notification], coming: Notification, rows: int) -> list[Notification]:
    """The toasts among `shown` (oldest first) that make room for `coming` on a screen of `rows` rows.

    A toast with the same words is replaced, which restarts its time. Beyond the limit the least severe go first, the oldest
    of them before others.
    """
    again = [old for old in shown if (old.title, old.message) == (coming.title, coming.message)]
    others = [old for old in shown if old not in again]
    surplus = len(others) + 1 - max(2, rows // ROWS_EACH)
    return again + sorted(others, key=lambda old: _RANK[old.severity])[: max(0, surplus)]
