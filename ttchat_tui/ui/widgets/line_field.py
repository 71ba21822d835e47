"""An `Input` with a key that deletes the next word, and a limit that it explains."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class LineField(Input):
    """See `ui.keys.EDITING_KEYS` for the keys. Of what is typed or pasted beyond `max_length`, the rest is left out, and a
    toast says so. A text that is too long from the start can be shortened."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("alt+delete", "delete_right_word", "Delete the next word", show=False)
    ]
    _is_full = False
    """Something was left out; it is said once."""

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
