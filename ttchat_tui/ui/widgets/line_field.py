"""An `Input` with a key that deletes the next word, marks of what is out of view, and a limit that it explains."""

from __future__ import annotations

from typing import ClassVar, Final

from rich.cells import cell_len
from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.widgets import Input

_LEAST_CELLS: Final = 4
"""In a narrower field a mark would take too much of the text."""


class LineField(Input):
    """See `ui.keys.EDITING_KEYS` for the keys. Of what is typed or pasted beyond `max_length`, the rest is left out, and a
    toast says so. A text that is too long from the start can be shortened. Where the text goes on out of view, there is a
    … at that end, unless the cursor is there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+delete", "delete_right_word", "Delete the next word", show=False)
    ]
    _is_full = False
    """Something was left out; it is said once."""

    def render_line(self, y: int) -> Strip:
        strip, width = super().render_line(y), self.scrollable_content_region.width
        if y or not self.value or width < _LEAST_CELLS:
            return strip
        first = self.scroll_offset.x
        cursor = cell_len(self.value[: self.cursor_position]) - first if self.has_focus else None
        mark = Strip([Segment("…", self.get_component_rich_style("input--placeholder"))], 1)
        if first > 0 and cursor != 0:
            strip = Strip.join([mark, strip.crop(1, width)])
        if cell_len(self.value) - first > width and cursor != width - 1:
            strip = Strip.join([strip.crop(0, width - 1), mark])
        return strip

    def replace(self, text: str, start: int, end: int) -> None:
        most = self.max_length
        if not most:
            super().replace(text, start, end)
            return
        start, end = sorted((max(0, start), min(len(self.value), end)))
        room = max(0, most - len(self.value) + end - start)
        was_full, self._is_full = self._is_full, len(text) > room
        if self._is_full and not was_full:
            self.notify(f"At most {most:,} characters fit here.", severity="warning", markup=False)
        self.max_length = None  # Textual refuses the whole edit, also one that shortens
        try:
            super().replace(text[:room], start, end)
        finally:
            self.max_length = most
