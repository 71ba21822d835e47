"""Conversations grouped into Today, Yesterday, This week and Older, with their ages. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, TypeAlias

from ttchat_tui.session import Mark

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


@dataclass(frozen=True)
class HistoryItem:
    """One conversation in the list."""

    id: int
    title: str
    updated_at: float
    """Unix time, seconds."""
    mark: Mark = ""
    """A running or queued reply, or one that has ended unseen."""


@dataclass(frozen=True)
class GroupRow:
    """A header between conversations."""

    title: str


@dataclass(frozen=True)
class ConversationRow:
    """One conversation in the drawn list."""

    id: int
    title: str
    age: str
    is_current: bool
    mark: Mark = ""


HistoryRow: TypeAlias = GroupRow | ConversationRow


def rows_of(items: Iterable[HistoryItem], current: int | None, now: float) -> list[HistoryRow]:
    """The rows, newest first, with a header before each group. Groups are by local calendar day."""
    today = date.fromtimestamp(now)
    rows: list[HistoryRow] = []
    group = ""
    for item in sorted(items, key=lambda item: item.updated_at, reverse=True):
        title = group_of(_day_of(item.updated_at), today)
        if title != group:
            group = title
            rows.append(GroupRow(group))
        age = age_of(item.updated_at, now)
        rows.append(ConversationRow(item.id, item.title, age, item.id == current, item.mark))
    return rows


def _day_of(then: float) -> date:
    """The local day; a time outside the calendar counts as the oldest."""
    try:
        return datetime.fromtimestamp(then).date()
    except (OverflowError, ValueError, OSError):
        return date.min


def group_of(day: date, today: date) -> str:
    """The group of a conversation last used on `day`. Days in the future (a clock set back) count as today."""
    if day >= today:
        return "Today"
    if day == today - timedelta(days=1):
        return "Yesterday"
    return "This week" if day > today - timedelta(days=7) else "Older"


def age_of(then: float, now: float) -> str:
    """The age in at most four characters: `now`, `2m`, `1h`, `3d`, `5w`, `2y`."""
    seconds = max(0, now - then)
    if seconds < _MINUTE:
        return "now"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)}m"
    if seconds < _DAY:
        return f"{int(seconds // _HOUR)}h"
    if seconds < 14 * _DAY:
        return f"{int(seconds // _DAY)}d"
    return f"{int(seconds // (7 * _DAY))}w" if seconds < 365 * _DAY else f"{int(seconds // (365 * _DAY))}y"


def matching(items: Sequence[HistoryItem], query: str) -> Sequence[HistoryItem]:
    """The items whose titles contain every word of `query`, in any order and case; all if it is blank."""
    words = query.casefold().split()
    if not words:
        return items
    return [item for item in items if all(word in item.title.casefold() for word in words)]
