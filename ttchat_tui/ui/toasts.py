"""How long a toast stands, and which ones go when another comes: a few words at a time, never a pile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.notifications import Notification

ROWS_EACH: Final = 12
"""A screen so many times as high may show as many toasts, and two in any case."""

LONGEST_S: Final = 10.0

_RANK: Final = {"information": 0, "warning": 1, "error": 2}


def reading_time(message: str) -> float:
    """Seconds for what no caller has set a time for: two to notice it, and one for each 25 characters."""
    return min(2 + len(message) / 25, LONGEST_S)


def to_drop(shown: Sequence[Notification], coming: Notification, rows: int) -> list[Notification]:
    """Those of `shown` (oldest first) that make room for `coming` on a screen of `rows` rows.

    The same words are replaced, so that their time begins again. Beyond the limit the least severe goes first, and of
    its like the oldest.
    """
    again = [old for old in shown if (old.title, old.message) == (coming.title, coming.message)]
    others = [old for old in shown if old not in again]
    surplus = len(others) + 1 - max(2, rows // ROWS_EACH)
    return again + sorted(others, key=lambda old: _RANK[old.severity])[: max(0, surplus)]
