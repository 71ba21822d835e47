"""How long toasts are shown, which ones make room for a new one, and where they are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any, Final, Protocol, runtime_checkable

from rich.cells import cell_len
from textual.geometry import Region
from textual.notifications import Notification
from textual.screen import Screen
from textual.widget import Widget

ROWS_EACH: Final = 12
"""Rows of the screen per toast; two toasts are always allowed."""

WIDTH: Final = 64
"""The most cells of a toast, as in shell.tcss, three of them beside its text."""

MOST_ROWS: Final = 10
"""Of the text of a toast, as in shell.tcss."""

LEAST_LEFT: Final = 3
"""Rows that toasts leave of what makes room for them."""

LONGEST_S: Final = 10.0

INTERRUPTED: Final = "Interrupted"
"""The title of the toast about replies that were cut off. Sending a message does not remove it: it is about something else."""

_RANK: Final = {"information": 0, "warning": 1, "error": 2}


def reading_time(message: str) -> float:
    """The default time-out in seconds: two to notice the toast, and one per 25 characters."""
    return min(2 + len(message) / 25, LONGEST_S)


def rows_of(shown: Sequence[Notification], cells: int) -> int:
    """How many rows these toasts take, each with a blank one below it, where the text of one is `cells` wide."""
    texts = [f"{each.title}\n{each.message}" if each.title else each.message for each in shown]
    return sum(1 + min(MOST_ROWS, sum(map(_rows, text.splitlines(), repeat(cells)))) for text in texts)


def _rows(line: str, cells: int) -> int:
    """Rows of a line that is wrapped between words. A longer word begins a row."""
    rows, used = 1, 0
    for width in map(cell_len, line.split(" ")):
        if used and used + 1 + width > cells:
            rows, used = rows + 1, 0
        further = max(0, width - 1) // max(1, cells)
        rows, used = rows + further, used + bool(used) + width - further * max(1, cells)
    return rows


def to_drop(shown: Sequence[Notification], coming: Notification, rows: int) -> list[Notification]:
    """The toasts among `shown` (oldest first) that make room for `coming` on a screen of `rows` rows.

    A toast with the same words is replaced, which restarts its time. Beyond the limit the least severe go first, the oldest
    of them before others.
    """
    again = [old for old in shown if (old.title, old.message) == (coming.title, coming.message)]
    others = [old for old in shown if old not in again]
    surplus = len(others) + 1 - max(2, rows // ROWS_EACH)
    return again + sorted(others, key=lambda old: _RANK[old.severity])[: max(0, surplus)]


@runtime_checkable
class PlacesToasts(Protocol):
    """A screen on which toasts cover nothing."""

    def place_toasts(self, shown: Sequence[Notification]) -> None:
        """These are shown now, or will be next."""
        ...


def place(screen: Screen[Any], area: Region, rows: int) -> None:
    """Put the toasts of a screen at the bottom of `area`, in at most `rows` rows."""
    width, height = screen.size
    margin = (0, max(0, width - area.right), max(0, height - area.bottom), max(0, area.x))
    for rack in screen.query_children("ToastRack"):
        rack.styles.margin, rack.styles.width, rack.styles.max_height = margin, area.width, max(1, rows)


def placed_in(screen: Screen[Any]) -> Region:
    """The area in which `place` has put the toasts of a screen; all of it, if it has put none."""
    area = screen.size.region
    for rack in screen.query_children("ToastRack"):
        area = area.shrink(rack.styles.margin)
    return area


def make_room(widget: Widget, rows: int) -> None:
    """Leave so many rows below a widget for toasts."""
    if widget.styles.margin.bottom != rows:
        widget.set_class(rows > 0, "-makes-room")
        top, right, _, left = widget.styles.margin
        widget.styles.margin = (top, right, rows, left)
