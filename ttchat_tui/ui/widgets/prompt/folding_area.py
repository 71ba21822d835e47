"""An `EditedArea` in which long pastes are folded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.widgets.text_area import Edit, EditResult, Location

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.widgets.prompt.edited_area import EditedArea
from ttchat_tui.ui.widgets.prompt.folded_pastes import FoldedPastes, Label


class FoldingArea(EditedArea):
    """A long paste is one label in the document: it is written behind and deleted as a whole, and tab or a click on it shows
    its text. `text` and what is copied have the pasted text itself."""

    def __init__(self, editing: EditingStyle, **options: Any) -> None:
        self._pastes = FoldedPastes()
        super().__init__(editing, **options)

    @property
    def text(self) -> str:
        return self._pastes.unfolded(self.document.text)

    @text.setter
    def text(self, value: str) -> None:
        self.load_text(value)

    @property
    def selected_text(self) -> str:
        return self._pastes.unfolded(super().selected_text)

    @property
    def has_folded(self) -> bool:
        return any(map(self._pastes.spans, self.document.lines))

    def with_fold_hint(self, hints: str) -> str:
        """`hints` for the border, and how to unfold where there is room for all of it."""
        if not self.has_folded:
            return hints
        whole = " · ".join(filter(None, ("tab or a click unfolds", hints)))
        return whole if not hints or cell_len(whole) <= self.outer_size.width - 6 else hints

    @property
    def folded_spans(self) -> list[tuple[int, int]]:
        """Where the folded pastes are in `text`."""
        return self._pastes.spans_in(self.document.text)

    def know_pastes(self, texts: Iterable[str]) -> None:
        """Fold these in texts that are loaded from now on."""
        for text in texts:
            self._pastes.label(text)

    def load_text(self, text: str) -> None:
        super().load_text(self._pastes.folded(text))

    def edit(self, edit: Edit) -> EditResult:
        """An edit that begins or ends inside a label is one of the whole label; what is written there comes behind it."""
        (top, left), (bottom, right) = edit.top, edit.bottom
        is_insertion = edit.top == edit.bottom
        for start, end in self._spans(bottom):
            right = end if start < right < end else right
        for start, end in self._spans(top):
            left = (end if is_insertion else start) if start < left < end else left
        if ((top, left), (bottom, right)) != (edit.top, edit.bottom):
            edit = Edit(edit.text, (top, left), (bottom, right), edit.maintain_selection_offset)
        return super().edit(edit)

    def _spans(self, row: int) -> list[Label]:
        """The labels in a line. An edit may also begin or end in the row below the last line, which has none."""
        return self._pastes.spans(self.document[row] if row < self.document.line_count else "")

    def unfold(self, location: Location, *, from_behind: bool) -> bool:
        """Show the text of the paste whose label is at this place, or `from_behind` ends there, as one edit. Returns whether
        there is one."""
        row, column = location
        line = self.document[row]
        for start, end in self._pastes.spans(line):
            if start <= column < end + from_behind:
                text = self._pastes.unfolded(line[start:end])
                result = self.replace(text, (row, start), (row, end), maintain_selection_offset=False)
                self.move_cursor(result.end_location)
                return True
        return False

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        for start, end in self._pastes.spans(line.plain):
            line.stylize("bold", start, end)
        return line

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if self.unfold(self.get_target_document_location(event), from_behind=False):
            event.prevent_default()  # no selection begins
