"""The window of mounted messages in a long conversation, bounded in messages and lines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import msgspec
from textual.geometry import Size

from ttchat_tui.domain.thoughts import TAG, split_thoughts
from ttchat_tui.ui.widgets.transcript.message_data import SHOWN_AT_ONCE, MessageView

MOST_MESSAGES: Final = 40
MOST_LINES: Final = 1500
STEP: Final = 10
"""Messages to add when the reader reaches an end of the window."""
FIRST_LINES: Final = 300
"""Estimated lines of a window that moves, several screens. It has at least so many, if there are messages: it must fill the
screen to be scrolled to its end."""

_COLUMNS: Final = 80
_FRAME_LINES: Final = 4


def estimated_lines(view: MessageView) -> int:
    """The estimated number of lines of a message, all thoughts folded: a window that is too small does not scroll."""
    text = _answer_of(view.text) if view.role == "assistant" else view.text[:SHOWN_AT_ONCE]
    return _FRAME_LINES + text.count("\n") + len(text) // _COLUMNS


@lru_cache(maxsize=4 * MOST_MESSAGES)
def _answer_of(text: str) -> str:
    if not TAG.search(text):
        return text
    return "\n\n".join("" if part.is_thought else part.text for part in split_thoughts(text))


class Window(msgspec.Struct, frozen=True):
    """The messages from `first` up to, not including, `end` are mounted."""

    first: int
    end: int

    def __len__(self) -> int:
        return self.end - self.first


def newest(views: Sequence[MessageView], size: Size) -> Window:
    """The window at the end, with which a conversation opens: enough for one look on a screen of `size`. The transcript adds
    more if that turns out to be too little."""
    lines = _lines_of_one_look(size)
    return _back_from(views, len(views), lines, MOST_MESSAGES, least=lines)


def _lines_of_one_look(size: Size) -> int:
    """Two screens; the estimates are for 80 columns."""
    return 2 * size.height * (1 + size.width // _COLUMNS) or FIRST_LINES


def oldest(views: Sequence[MessageView]) -> Window:
    lines, end = 0, 0
    while end < len(views) and end < MOST_MESSAGES and (not end or lines < FIRST_LINES):
        lines += estimated_lines(views[end])
        end += 1
    return Window(0, end)


def around(views: Sequence[MessageView], at: int) -> Window:
    """Message `at` with some before and some after it."""
    return moved_down(views, _back_from(views, at + 1, FIRST_LINES, STEP))


def near(views: Sequence[MessageView], at: int, size: Size) -> Window:
    """Message `at` with the one before it, and two screens of `size` from it on: enough for one look. Scrolling adds
    more."""
    end, lines = at, _lines_of_one_look(size)
    while end < len(views) and end - at < MOST_MESSAGES and lines > 0:
        lines -= estimated_lines(views[end])
        end += 1
    return newest(views, size) if lines > 0 else Window(max(0, at - 1), end)


def moved_up(views: Sequence[MessageView], window: Window, keep: int | None = None) -> Window:
    """Add older messages; drop newer ones if the window gets too large. Message `keep`, or the first one, stays with those
    before it."""
    keep = window.first if keep is None else keep
    first = _back_from(views, window.first, MOST_LINES // 2, STEP).first
    lines, end = 0, first
    while end < window.end and ((end - first < MOST_MESSAGES and lines < MOST_LINES) or end <= keep):
        lines += estimated_lines(views[end])
        end += 1
    return Window(first, end)


def moved_down(views: Sequence[MessageView], window: Window, keep: int | None = None) -> Window:
    """Add newer messages; drop older ones if the window gets too large. Message `keep`, or the last one, stays with those
    after it."""
    keep = window.end - 1 if keep is None else keep
    lines, end = 0, window.end
    while end < min(len(views), window.end + STEP) and (end == window.end or lines < MOST_LINES // 2):
        lines += estimated_lines(views[end])
        end += 1
    return trimmed(views, Window(window.first, end), keep)


def trimmed(views: Sequence[MessageView], window: Window, keep: int) -> Window:
    """Drop the oldest messages beyond the limits; message `keep` and those after it stay."""
    first = _back_from(views, window.end, MOST_LINES, MOST_MESSAGES).first
    return Window(max(window.first, min(first, keep)), window.end)


def filled(views: Sequence[MessageView], window: Window) -> Window:
    """Extend `window` to fill the screen, with older messages first."""
    first = min(window.first, _back_from(views, window.end, FIRST_LINES, MOST_MESSAGES).first)
    lines = sum(map(estimated_lines, views[first : window.end]))
    end = window.end
    while end < len(views) and end - first < MOST_MESSAGES and lines < FIRST_LINES:
        lines += estimated_lines(views[end])
        end += 1
    return Window(first, end)


def _back_from(
    views: Sequence[MessageView], end: int, most_lines: int, most_messages: int, least: int = FIRST_LINES
) -> Window:
    """The messages before `end` within the limits, but at least `least` lines. The first of them may be long."""
    first, lines = end, 0
    while first > 0 and end - first < most_messages:
        more = estimated_lines(views[first - 1])
        if lines + more > most_lines and lines >= least:
            break
        lines += more
        first -= 1
    return Window(first, end)
