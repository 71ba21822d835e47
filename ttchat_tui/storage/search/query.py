"""The language of queries: words, "phrases", and operators such as `role:user` or `before:2026-11`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from ttchat_tui.domain.search import SearchQuery
from ttchat_tui.domain.tags import tags_in

MOST_NEEDLES: Final = 16
LONGEST_NEEDLE: Final = 200
"""Characters. Longer ones are cut: a pasted page is no query."""

_PART: Final = re.compile(
    r'(?P<operator>[a-z]+):(?P<value>"[^"]*"?|[^\s"]*)|"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)', re.I
)

_ROLES: Final = {
    "user": "user", "you": "user", "me": "user", "assistant": "assistant", "model": "assistant", "reply": "assistant",
    "system": "system",
}  # fmt: skip

_DATE: Final = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


def parse_query(typed: str, now: float | None = None) -> SearchQuery:
    """Parse anything. What cannot be understood is left out, and `problem` says so; unknown operators are words.

    Dates are local: `2026`, `2026-11`, `2026-11-29`, `today`, `yesterday`.
    """
    fields: dict[str, object] = {}
    needles: list[str] = []
    models: list[str] = []
    tags: list[str] = []
    problems: list[str] = []
    for part in _PART.finditer(typed[: MOST_NEEDLES * LONGEST_NEEDLE]):
        operator, value = (part["operator"] or "").lower(), (part["value"] or "").strip('"').strip()
        if operator == "model":
            models += [value] if value else []
        elif operator == "tag":
            tags += tags_in(value)
        elif operator in _READERS:
            if not value:
                continue  # still being typed
            name, read = _READERS[operator]
            found = read(value, time.time() if now is None else now)
            if found is None:
                problems.append(_HELP[operator])
            else:
                fields[name] = found
        elif operator == "in":
            if value.lower() in _PLACES:
                fields[_PLACES[value.lower()]] = True
            elif value:
                problems.append("in: needs title or archive.")
        else:
            needles.append(part["phrase"] or part["word"] or part[0])
    kept = [needle.strip()[:LONGEST_NEEDLE] for needle in needles if needle.strip()][:MOST_NEEDLES]
    return SearchQuery(
        needles=tuple(kept),
        models=tuple(models),
        tags=tuple(tags),
        problem=" ".join(problems),
        **fields,  # type: ignore[arg-type]
    )


def _role(value: str, now: float) -> object:
    return _ROLES.get(value.lower())


def _moment(value: str, now: float) -> float | None:
    """The first second of a day, a month or a year; None if it is not a date."""
    today = datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
    match value.lower():
        case "today":
            return today.timestamp()
        case "yesterday":
            return (today - timedelta(days=1)).timestamp()
        case _:
            date = _DATE.fullmatch(value)
    try:
        return datetime(int(date[1]), int(date[2] or 1), int(date[3] or 1)).timestamp() if date else None
    except (
        ValueError,
        OverflowError,
        OSError,
    ):  # the 31st of November; a year before the epoch of this platform
        return None


_PLACES: Final = {"title": "in_title", "archive": "in_archive"}

_READERS: Final[dict[str, tuple[str, Callable[[str, float], object]]]] = {
    "role": ("role", _role),
    "before": ("before", _moment),
    "after": ("after", _moment),
}

_HELP: Final = {
    "role": "role: needs user, assistant or system.",
    "before": "before: needs a date such as 2026-11-29, 2026-11, 2026, today or yesterday.",
    "after": "after: needs a date such as 2026-11-29, 2026-11, 2026, today or yesterday.",
}
