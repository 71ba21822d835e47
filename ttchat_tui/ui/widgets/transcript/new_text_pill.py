"""Says that there is text below which the reader has not seen, and how much."""

from __future__ import annotations

from typing import Final

from textual.widgets import Static

FROM_RIGHT: Final = 5
"""Columns that stay free beside it, the scrollbar among them."""


class NewTextPill(Static):
    """Floats over the end of what it belongs to; hidden until something is `announced`."""

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
        """There is new text: that many lines of it, 0 if their number is not known."""
        label = f" ↓ {lines:,} new line{'s' * (lines != 1)} " if lines else " ↓ new "
        self.display = True
        if label != self._label:
            has_new_width = len(label) != len(self._label)
            self._label = label
            self.update(label, layout=has_new_width)
            if has_new_width:
                self.place_in(self._columns)

    def place_in(self, columns: int) -> None:
        """Its place, in something `columns` wide."""
        self._columns = columns
        self.styles.offset = (max(0, columns - len(self._label) - FROM_RIGHT), 0)
