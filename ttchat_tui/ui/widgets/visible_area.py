"""A `TextArea` for any text."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.widgets import TextArea

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.keys import FREED_KEYS
from ttchat_tui.ui.textual_patches.privates import remove_bindings


class VisibleArea(TextArea):
    """Draws control characters as symbols. A stored prompt, an imported system prompt or a model's summary may have some;
    they stay in the text. Leaves `FREED_KEYS` to the chat. What deletes to an edge of the line does so where the line is
    wrapped, too: Textual's own actions stop at the row's edge."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        remove_bindings(self, FREED_KEYS)

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        line.plain = visible(line.plain)
        return line

    def action_delete_to_start_of_line(self) -> None:
        if self.cursor_location[1]:
            self._delete_in_line(0)
        else:
            super().action_delete_to_start_of_line()

    def action_delete_to_end_of_line(self) -> None:
        self._delete_in_line(len(self.document[self.cursor_location[0]]))

    async def action_delete_to_end_of_line_or_delete_line(self) -> None:
        row, column = self.cursor_location
        end = len(self.document[row])
        if not end:
            self.action_delete_line()
        elif column == end and self.selection.is_empty:
            self.action_delete_right()
        else:
            self.action_delete_to_end_of_line()

    def _delete_in_line(self, to_column: int) -> None:
        if not self.read_only:
            row, _ = at = self.cursor_location
            self.delete(at, (row, to_column), maintain_selection_offset=False)
