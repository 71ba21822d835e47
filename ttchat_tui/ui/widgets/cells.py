"""Cutting and padding of plain text to terminal cells; a character takes zero to two."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size


def cut_to_cells(text: str, width: int) -> str:
    """`text` cut to `width` cells, with … at the end if it was longer."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    return set_cell_size(text, width - 1).rstrip() + "…"


def cut_at_start(text: str, width: int) -> str:
    """The end of `text` in `width` cells, with … before it if it was longer: the end of a path says most."""
    if cell_len(text) <= width:
        return text
    if width < 1:
        return ""
    start = len(text)
    while cell_len(text[start - 1 :]) < width:
        start -= 1
    return "…" + text[start:].lstrip()


def cut_in_middle(text: str, width: int) -> str:
    """`text` cut to `width` cells, with … after its first third if it was longer: names of files differ at their ends."""
    if cell_len(text) <= width:
        return text
    start = set_cell_size(text, max(0, width - 1) // 3).rstrip()
    room = width - 1 - cell_len(start)
    end = next((text[index:] for index in range(len(text)) if cell_len(text[index:]) <= room), "")
    return f"{start}…{end}" if width > 0 else ""


def pad_to_cells(text: str, width: int) -> str:
    """`text` padded with blanks to `width` cells."""
    return text + " " * max(0, width - cell_len(text))


def size_words(size: int) -> str:
    """A number of bytes in words: `812 bytes`, `28.9 kB`."""
    return f"{size / 1000:,.1f} kB" if size >= 1000 else f"{size} bytes"
