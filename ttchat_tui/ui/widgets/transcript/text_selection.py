"""Selection of text in the transcript with the keyboard. It is Textual's own selection, as the mouse makes it."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, NamedTuple

from textual import events
from textual.geometry import Offset
from textual.message import Message
from textual.selection import Selection
from textual.widget import Widget

from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.caret import Caret, Point, is_for_caret
from ttchat_tui.ui.widgets.transcript.hits import MessageHits
from ttchat_tui.ui.widgets.transcript.selection import is_selectable

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class TextLine(NamedTuple):
    """A line on screen with text that can be selected."""

    message: MessageWidget
    chunk: MessageChunk
    row: int
    """Of the chunk."""
    x: int
    """The place of the line's first character in the row's text."""
    place: tuple[int, int]
    """As in `MessageWidget.row_at`."""
    text: str

    @property
    def y(self) -> int:
        """In the scrolled content."""
        return self.message.virtual_region.y + self.message.y_of(*self.place)


class TextSelection(MessageHits):
    """A base of `Transcript`, which has the attributes used here. The cursor is in the mounted messages."""

    _caret: Caret | None = None
    _caret_lines: list[TextLine]
    """The lines at the last key."""

    class CaretLeft(Message):
        """The cursor was taken away: its text is copied, or escape was pressed."""

    def start_caret(self) -> bool:
        """Put a cursor into the selected message, else into the last line in view. Returns False if there is no text."""
        lines = self._text_lines()
        if self.selected is not None:
            of_selected = (at for at, each in enumerate(lines) if each.message.view.key == self.selected)
            at = next(of_selected, -1)
        else:
            bottom = self.scroll_y + self.size.height
            at = bisect.bisect_left(lines, bottom, key=lambda each: each.y) - 1
        if at < 0:
            return False
        self._caret, self._caret_lines = Caret(Point(at, 0)), lines
        self.focus()
        self._show_caret()
        self.post_message(self.SelectionChanged())
        self.call_after_refresh(self._mount_more)
        return True

    def _mount_more(self) -> None:
        """Only mounted text can be selected."""
        if (window := windows.filled(self._views, self._window)) != self._window:
            self._move_to(window)

    @property
    def has_caret(self) -> bool:
        return self._caret is not None

    def on_key(self, event: events.Key) -> None:
        """With a cursor, its keys are for it, and letters that mean nothing."""
        if self._caret is None or not is_for_caret(event.key, event.is_printable):
            return
        event.stop().prevent_default()
        self._press(event.key, event.character)

    def _press(self, key: str, character: str | None) -> None:
        if self._caret is None:
            return
        if not self._follow_lines(self._caret):
            self._leave_caret()
            return
        match self._caret.press(key, character, [each.text for each in self._caret_lines]):
            case "copy":
                self.app.copy_to_clipboard(self.screen.get_selected_text() or "")
                self._leave_caret()
            case "leave":
                self._leave_caret()
            case "moved":
                self._show_caret()
            case edge:
                moved = windows.moved_up if edge == "above" else windows.moved_down
                before, window = self._window, moved(self._views, self._window)
                is_more = window.first <= before.first and window.end >= before.end
                # Only mounted text can be selected: nothing may go while a selection is being made.
                if window != before and (is_more or self._caret.start is None):
                    self._move_to(window)
                    self.call_after_refresh(self._press, key, character)
                elif self._caret.start is not None:
                    self._show_caret()

    def on_blur(self) -> None:
        self._caret = None

    def _leave_caret(self) -> None:
        self._caret = None
        self.screen.clear_selection()
        self.post_message(self.SelectionChanged())
        self.post_message(self.CaretLeft())

    def _text_lines(self) -> list[TextLine]:
        found: list[TextLine] = []
        for message in self._mounted():
            if not is_selectable(message.view):
                continue
            for index, chunk in enumerate(message.chunks):
                if not chunk.size.width:  # not laid out yet
                    continue
                line = 0
                for number, row in enumerate(chunk.rows):
                    for spans in row.lines(chunk.size.width):
                        places = [
                            (span.x, span.x + len(span.content)) for span in spans if span.x is not None
                        ]
                        if places:
                            start, end = min(places)[0], max(end for _, end in places)
                            text = row.plain[start:end]
                            found.append(TextLine(message, chunk, number, start, (index, line), text))
                        line += 1
        return found

    def _follow_lines(self, caret: Caret) -> bool:
        """The messages may have changed since the last key, and others be mounted: find the same characters again. Returns
        False if there is no text any more."""
        before, self._caret_lines = self._caret_lines, self._text_lines()
        if not self._caret_lines:
            return False
        places = {(each.chunk, each.row, each.x): at for at, each in enumerate(self._caret_lines)}

        def again(point: Point) -> Point:
            line = before[point.line]
            at = places.get((line.chunk, line.row, line.x), min(point.line, len(self._caret_lines) - 1))
            return Point(at, min(point.column, len(self._caret_lines[at].text)))

        caret.at = again(caret.at)
        caret.start = None if caret.start is None else again(caret.start)
        return True

    def _show_caret(self) -> None:
        """Draw cursor and selection, and bring the cursor into view."""
        caret, lines = self._caret, self._caret_lines
        if caret is None:
            return
        low, high = sorted((caret.at, caret.at if caret.start is None else caret.start))
        selections: dict[Widget, Selection] = {}
        for at in range(low.line, high.line + 1):
            line = lines[at]
            start = Offset(line.x + low.column, line.row) if at == low.line else None
            end = Offset(line.x + high.column + 1, line.row) if at == high.line else None
            before = selections.get(line.chunk)
            selections[line.chunk] = Selection(before.start if before is not None else start, end)
        self.screen.selections = selections
        line = lines[caret.at.line]
        self.show_line(line.message, line.place)
