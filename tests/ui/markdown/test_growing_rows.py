"""Of a row that grows, only the lines that look otherwise than before have to be drawn."""

from __future__ import annotations

from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions

from tests.ui.markdown.test_stream import REPLY
from ttchat_tui.ui.markdown.document import Document
from ttchat_tui.ui.markdown.rows import RenderRow, same_lines
from ttchat_tui.ui.markdown.visual import RowsVisual

WIDTH = 50


def drawn(row: RenderRow, first: int = 0) -> list[Strip]:
    options = RenderOptions(lambda style: style if isinstance(style, Style) else Style(), {})
    visual = RowsVisual([row], lambda name: Style(), first=first)
    return visual.render_strips(WIDTH, None, Style(), options)


def test_lines_that_count_as_the_same_look_the_same_and_the_others_can_be_drawn_alone() -> None:
    source = "Some *words* of a `paragraph` " * 30 + "\n\n" + REPLY
    document, before, kept = Document(), list[RenderRow](), 0
    for at in range(0, len(source), 97):
        document.feed(source[at : at + 97])
        document.update()
        rows = document.chunks[-1].rows[:]
        for old, new in [*zip(before, rows, strict=False)][-4:]:
            same = same_lines(old.lines(WIDTH), new.lines(WIDTH))
            if old.style == new.style:
                assert drawn(old)[:same] == drawn(new)[:same]
            assert drawn(new, first=same) == drawn(new)[same:]
            kept += same
        before = rows
    assert kept > 50
