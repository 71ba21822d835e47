"""A `TextArea` with one of the ways of editing. The mode is in its upper border."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets.text_area import Selection
from typing_extensions import assert_never

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.editing_keys import STYLES
from ttchat_tui.ui.widgets.prompt.editing import Buffer, Clipboard, difference, index_of, location_of
from ttchat_tui.ui.widgets.visible_area import VisibleArea


class EditedArea(VisibleArea):
    """A base of `Prompt`, which gives it the keys that it does not use itself."""

    def __init__(self, editing: EditingStyle, **options: Any) -> None:
        super().__init__(**options)
        make = STYLES[editing]
        clipboard = Clipboard(lambda text: self.app.copy_to_clipboard(text), lambda: self.app.clipboard)
        self._editing = make(clipboard) if make is not None else None

    @property
    def is_writing(self) -> bool:
        """Letters are typed, and are no commands."""
        return self._editing is None or self._editing.is_writing

    @property
    def takes_enter(self) -> bool:
        """Enter belongs to the way of editing, and sends nothing."""
        return self._editing is not None and self._editing.takes_enter

    def begin_writing(self) -> None:
        """From now on letters are typed."""
        if self._editing is not None:
            self._editing.begin()
            self._show_mode()

    def edit_by_key(self, key: str, character: str | None) -> bool:
        """Give a key to the way of editing. Returns whether it has done something."""
        if self._editing is None:
            return False
        text = self.document.text
        before = Buffer(text, index_of(text, self.cursor_location))
        outcome = self._editing.press(key, character, before)
        match outcome:
            case None:
                pass
            case Buffer():
                self._show_buffer(before.text, outcome)
            case "older":
                self.action_cursor_up()
            case "newer":
                self.action_cursor_down()
            case "undo":
                self.action_undo()
            case _:
                assert_never(outcome)
        if isinstance(outcome, str) and not self.is_writing:
            self._rest_on_character()
        self._show_mode()
        return outcome is not None

    def load_text(self, text: str) -> None:
        super().load_text(text)
        if self._editing is not None:
            self._editing.load(self.document.text)

    def _rest_on_character(self) -> None:
        """The cursor is on a character, unless its line has none."""
        line, column = self.cursor_location
        self.move_cursor((line, min(column, max(0, len(self.document[line]) - 1))))

    def _show_buffer(self, before: str, after: Buffer) -> None:
        """Make the one edit that leads from the text `before` to `after`, and move cursor and selection."""
        text = after.text
        if text != before:
            start, end, inserted = difference(before, text)
            self.history.checkpoint()
            places = location_of(before, start), location_of(before, end)
            self.replace(inserted, *places, maintain_selection_offset=False)
            self.history.checkpoint()
        at, anchor = after.at, after.anchor
        # vi selects the character under the cursor too, which is drawn as the cursor, and that of the anchor.
        start = at if anchor is None else anchor + 1 if anchor > at else anchor
        self.selection = Selection(location_of(text, min(start, len(text))), location_of(text, at))

    def _show_mode(self) -> None:
        if self._editing is not None:
            self.border_title = Content(self._editing.label) if self._editing.label else None
