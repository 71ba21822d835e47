"""A label for unread text below the view."""

from __future__ import annotations

from typing import Final

from textual.widgets import Static

FROM_RIGHT: Final = 5
"""Columns right of it, the scrollbar included."""


class NewTextPill(Static):
    """Floats over the end of the transcript; hidden until `announce` is called."""

    DEFAULT_CSS = "NewTextPill { dock: bottom; width: auto; height: 1; }"

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self.display = False
        self._label = ""
        self._columns = 0

    @property
    def label(self) -> str:
        return self._label.strip()

    def announce(self, lines: int) -> None:
        """Show that there are `lines` new lines; 0: unknown number."""
        label = f" ↓ {lines:,} new line{'s' * (lines != 1)} " if lines else " ↓ new "
        self.display = True
        if label != self._label:
            has_new_width = len(label) != len(self._label)
            self._label = label
            self.update(label, layout=has_new_width)
            if has_new_width:
                self.place_in(self._columns)

    def place_in(self, columns: int) -> None:
        """Place it at the right of a parent `columns` wide."""
        self._columns = columns
        self.styles.offset = (max(0, columns - len(self._label) - FROM_RIGHT), 0)
