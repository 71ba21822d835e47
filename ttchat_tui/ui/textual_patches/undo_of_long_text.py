"""Undo of an edit that has made a text longer than its field.

Replaces `TextArea.scroll_cursor_visible` (public) of Textual 8.2.8. `TextArea._undo_batch` shows the new size of the text
before it moves the cursor. If the scrollbar goes with that, the field scrolls to a cursor below the last line: a crash.
"""

from __future__ import annotations

from textual.geometry import Offset
from textual.widgets import TextArea

_scroll = TextArea.scroll_cursor_visible


def scroll_cursor_visible(self: TextArea, center: bool = False, animate: bool = False) -> Offset:
    """As Textual's; does nothing while the cursor is outside the text. The undo moves it, which calls this again."""
    if self.cursor_location[0] >= self.document.line_count:
        return Offset()
    return _scroll(self, center, animate)


TextArea.scroll_cursor_visible = scroll_cursor_visible
