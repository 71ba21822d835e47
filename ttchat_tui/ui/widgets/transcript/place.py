"""The reader's position as a line of a message, which stays valid when lines above change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.widget import Widget

    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class Place(NamedTuple):
    """The line at the top of the view."""

    message: MessageWidget
    chunk: int
    line: int


def place_at(messages: Sequence[MessageWidget], y: int) -> Place | None:
    """The line at `y` of the scrolled content; None if no message is there."""
    for message in reversed(messages):
        if message.is_laid_out and message.virtual_region.y <= y:
            return Place(message, *message.row_at(y - message.virtual_region.y))
    return None


def y_of(place: Place, tops: Mapping[Widget, int]) -> int | None:
    """The current y of a place, given the top of each message; None if its message is gone."""
    top = tops.get(place.message)
    return None if top is None else top + place.message.y_of(place.chunk, place.line)


def end_of(messages: Sequence[MessageWidget]) -> Place | None:
    """The last line of text; None without messages."""
    if not messages or not messages[-1].is_attached:
        return None
    return Place(messages[-1], *messages[-1].last_line())


def lines_since(place: Place | None, messages: Sequence[MessageWidget]) -> int:
    """Lines of text after `place`; 0 if `place` or the end is not mounted."""
    end = end_of(messages)
    if place is None or end is None:
        return 0
    tops: dict[Widget, int] = {message: message.virtual_region.y for message in messages}
    before, now = y_of(place, tops), y_of(end, tops)
    return max(0, now - before) if before is not None and now is not None else 0
