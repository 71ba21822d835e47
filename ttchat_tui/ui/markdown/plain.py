"""Plain text, for the user's messages and notices. It is not parsed as Markdown."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.links import linked
from ttchat_tui.ui.markdown.rows import TextRow

TAB: Final = 4
_LINES: Final = 64
"""Lines per chunk, which is drawn only once."""


def plain_chunks(text: str, style: str = "", *, is_end: bool = True) -> list[RenderChunk]:
    """`text` line by line, in chunks of bounded size. At its end blank lines are left out."""
    shown = visible(text.replace("\r\n", "\n").replace("\r", "\n"))
    lines = (shown.rstrip("\n") if is_end else shown).split("\n")
    rows = [_row(line, style) for line in lines]
    return [RenderChunk(list(rows[start : start + _LINES])) for start in range(0, len(rows), _LINES)]


def _row(line: str, style: str) -> TextRow:
    row = TextRow(linked(Content.styled(line.expandtabs(TAB), style)), cost=1 / _LINES)
    row.source = line
    return row
