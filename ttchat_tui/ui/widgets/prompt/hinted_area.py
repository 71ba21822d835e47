"""A `FoldingArea` with a few words in its lower border."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from textual.content import Content

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.widgets.cells import cut_to_cells
from ttchat_tui.ui.widgets.prompt.folding_area import FoldingArea

LEAST_CUT = 6
"""Cells that stay of the constraint's name, and of the names that are no files, where what else is in the border needs the room."""


class HintedArea(FoldingArea):
    """The lower border says what applies to the draft: constraint, attached files, tokens."""

    def __init__(self, editing: EditingStyle, **options: Any) -> None:
        super().__init__(editing, **options)
        self._token_hint = self._attachments = self._missing = self._form = ""

    def set_token_hint(self, hint: str) -> None:
        """Show a few words in the lower border, such as `23 tok`; empty for none."""
        if hint != self._token_hint:
            self._token_hint = hint
            self._show_hints()

    def set_attachments(self, words: str, missing: str = "") -> None:
        """Show what is attached, or why not, before the token hint: `2 files`; empty for nothing. `missing`: what is mentioned
        and is no file, cut where the room is needed."""
        if (words, missing) != (self._attachments, self._missing):
            self._attachments, self._missing = words, missing
            self._show_hints()

    def set_form(self, words: str) -> None:
        """Show the constraint of replies, before what is attached: `regex [0-9]+`; empty for none."""
        if words != self._form:
            self._form = words
            self._show_hints()

    def _show_hints(self) -> None:
        whole = [each for each in (self._attachments, self._token_hint) if each]
        room = self.outer_size.width - 6 - sum(cell_len(each) + 3 for each in whole)
        least = min(LEAST_CUT, cell_len(self._form))
        missing = cut_to_cells(self._missing, max(LEAST_CUT, room - (least and least + 3)))
        form = cut_to_cells(self._form, max(LEAST_CUT, room - (cell_len(missing) + 3 if missing else 0)))
        hints = " · ".join(filter(None, (form, self._attachments, missing, self._token_hint)))
        hints = self.with_fold_hint(hints)
        self.border_subtitle = Content(hints) if hints else None
