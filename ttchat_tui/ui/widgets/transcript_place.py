"""Where a reader is: not a number of lines from the top, which changes, but a line of a message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.widget import Widget

    from ttchat_tui.ui.widgets.message_widget import MessageWidget


class Place(NamedTuple):
    """The line at the top of the view."""

    message: MessageWidget
    chunk: int
    line: int


def place_at(messages: Sequence[MessageWidget], y: int) -> Place | None:
    """The line at `y` of the scrolled content; None if there are no messages there yet."""
    for message in reversed(messages):
        if message.is_attached and message.virtual_region.y <= y:
            return Place(message, *message.row_at(y - message.virtual_region.y))
    return None


def y_of(place: Place, tops: Mapping[Widget, int]) -> int | None:
    """Where the line is now, given where each message begins; None if its message is not there any more."""
    top = tops.get(place.message)
    return None if top is None else top + place.message.y_of(place.chunk, place.line)
