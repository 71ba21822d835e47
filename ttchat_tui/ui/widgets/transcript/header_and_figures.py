"""The rows above and below a message's text: who said it, and a reply's figures."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.rows import RenderRow, RenderSpan, VisualLine
from ttchat_tui.ui.widgets.transcript.message_data import SEPARATOR


class HeaderRow:
    """Title on the left, versions and time on the right."""

    style = ""
    cost = 0.0
    flows_on = False
    tail = None

    def __init__(self, left: Content, right: Content) -> None:
        self._left = left
        self._right = right

    @property
    def plain(self) -> str:
        return self._left.plain

    @property
    def source(self) -> str:
        return self.plain

    def lines(self, width: int) -> Sequence[VisualLine]:
        room = max(1, width - self._right.cell_length - 2)
        left = self._left.truncate(room, ellipsis=True)
        gap = Content(" " * max(0, width - left.cell_length - self._right.cell_length))
        return [(RenderSpan(left, 0), RenderSpan(gap), RenderSpan(self._right))]

    def looks_like(self, other: RenderRow) -> bool:
        return (
            isinstance(other, HeaderRow)
            and self._left.is_same(other._left)
            and self._right.is_same(other._right)
        )


class FiguresRow:
    """A reply's figures, on several lines if the width requires it. No figure is broken. `spare` ones are left out where the
    last line has no room."""

    style = ""
    cost = 0.0
    flows_on = False
    tail = None

    def __init__(self, figures: str, spare: str = "") -> None:
        self.plain = self.source = visible(SEPARATOR.join(filter(None, (figures, spare))))
        self._spare_from = len(visible(figures))

    def lines(self, width: int) -> Sequence[VisualLine]:
        content = Content.styled(self.plain, ".md-faint")
        starts, at = [0], 0
        for figure in self.plain.split(SEPARATOR):
            if at > starts[-1] and cell_len(self.plain[starts[-1] : at + len(figure)]) > width:
                if at > self._spare_from:
                    break
                starts.append(at)
            at += len(figure) + len(SEPARATOR)
        ends = [start - len(SEPARATOR) for start in (*starts[1:], at)]
        return [
            (RenderSpan(content[start:end].truncate(max(1, width), ellipsis=True), start),)
            for start, end in zip(starts, ends, strict=True)
        ]

    def looks_like(self, other: RenderRow) -> bool:
        return (
            isinstance(other, FiguresRow)
            and self.plain == other.plain
            and self._spare_from == other._spare_from
        )
