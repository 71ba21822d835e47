"""Cuts and pads plain text to terminal cells, where a character may be two wide or none."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def cut_to_cells(text: str, width: int) -> str:
    """`text` in at most `width` cells, ending in … when something had to go."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    return set_cell_size(text, width - 1).rstrip() + "…"


def pad_to_cells(text: str, width: int) -> str:
    """`text` with blanks at its end up to `width` cells."""
    return text + " " * max(0, width - cell_len(text))
