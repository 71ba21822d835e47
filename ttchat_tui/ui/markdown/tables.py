"""Tables: columns as wide as their widest cell, narrowed evenly when the screen is; cells wrap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Align
from ttchat_tui.ui.markdown.rows import EMPTY, Piece, Row, VisualLine
from ttchat_tui.ui.markdown.wrap import wrap_offsets

_FAINT: Final = ".md-faint"
_BAR: Final = Content.styled(" │ ", _FAINT)
_NARROWEST: Final = 3
"""Columns below which a table is no use: its rows are then shown as text with bars."""


class Columns:
    """The columns that the rows of one table share."""

    def __init__(self, natural: Sequence[int], aligns: Sequence[Align]) -> None:
        self.natural = tuple(natural)
        """Columns that each needs to show its widest cell in one line."""
        self.aligns = tuple(aligns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and (self.natural, self.aligns) == (other.natural, other.aligns)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def widths(self, width: int) -> list[int]:
        """Widths that fit into `width` together with the bars; empty if that would be too narrow to read."""
        room = width - len(_BAR) * (len(self.natural) - 1)
        if room < _NARROWEST * len(self.natural):
            return [] if sum(self.natural) > room else list(self.natural)
        if sum(self.natural) <= room:
            return list(self.natural)
        # The widest columns give way first, down to one common limit.
        limit, left = 0, room
        ordered = sorted(self.natural)
        for index, natural in enumerate(ordered):
            share = left // (len(ordered) - index)
            if natural > share:
                limit = share
                break
            left -= natural
        return [min(natural, max(limit, _NARROWEST)) for natural in self.natural]


class TableRow:
    """One row of a table. Its text is its cells with bars between them."""

    flows_on = False

    def __init__(
        self,
        cells: Sequence[Content],
        columns: Columns,
        *,
        lead: Content = EMPTY,
        rest: Content = EMPTY,
        cost: float = 0.0,
    ) -> None:
        self.cells = tuple(cells)
        self.columns = columns
        self.lead = lead
        self.rest = rest
        self.cost = cost
        self.style = ""
        self._cache: tuple[int, list[VisualLine]] | None = None

    @property
    def plain(self) -> str:
        return _BAR.plain.join(cell.plain for cell in self.cells)

    def lines(self, width: int) -> Sequence[VisualLine]:
        if self._cache is None or self._cache[0] != width:
            self._cache = (width, self._lay_out(width))
        return self._cache[1]

    def looks_like(self, other: Row) -> bool:
        return (
            isinstance(other, TableRow)
            and self.columns == other.columns
            and len(self.cells) == len(other.cells)
            and all(mine.is_same(its) for mine, its in zip(self.cells, other.cells, strict=True))
            and self.lead.is_same(other.lead)
            and self.rest.is_same(other.rest)
        )

    def _lay_out(self, width: int) -> list[VisualLine]:
        room = width - self.rest.cell_length
        widths = self.columns.widths(room)
        if not widths:
            return self._lay_out_as_text(room)
        stacks = [_wrapped(cell, columns) for cell, columns in zip(self.cells, widths, strict=True)]
        lines: list[VisualLine] = []
        for index in range(max(map(len, stacks))):
            pieces = [Piece(self.rest if index else self.lead, None, False)]
            at = 0
            for column, stack in enumerate(stacks):
                if column:
                    pieces.append(Piece(_BAR))
                part, offset = stack[index] if index < len(stack) else (EMPTY, 0)
                pieces += _padded(part, at + offset, widths[column], self.columns.aligns[column])
                at += len(self.cells[column]) + len(_BAR)
            lines.append(tuple(piece for piece in pieces if piece.content))
        return lines

    def _lay_out_as_text(self, width: int) -> list[VisualLine]:
        text = _BAR.join(self.cells)
        return [
            (Piece(self.rest if index else self.lead, None, False), Piece(part, offset))
            for index, (part, offset) in enumerate(_wrapped(text, max(2, width)))
        ]


class TableRule:
    """The line under a table's header."""

    flows_on = False
    plain = ""

    def __init__(self, columns: Columns, *, rest: Content = EMPTY) -> None:
        self.columns = columns
        self.rest = rest
        self.cost = 0.0
        self.style = ""

    def lines(self, width: int) -> Sequence[VisualLine]:
        widths = self.columns.widths(width - self.rest.cell_length)
        if not widths:
            return []
        rule = Content.styled("─┼─".join("─" * columns for columns in widths), _FAINT)
        return [(Piece(self.rest, None, False), Piece(rule))]

    def looks_like(self, other: Row) -> bool:
        return (
            isinstance(other, TableRule) and self.columns == other.columns and self.rest.is_same(other.rest)
        )


def _wrapped(cell: Content, width: int) -> list[tuple[Content, int]]:
    offsets = wrap_offsets(cell.plain, width)
    return [(part.rstrip(), offset) for part, offset in zip(cell.divide(offsets[1:]), offsets, strict=True)]


def _padded(part: Content, x: int, width: int, align: Align) -> list[Piece]:
    free = max(0, width - part.cell_length)
    left = free if align == "right" else free // 2 if align == "center" else 0
    return [
        Piece(Content(" " * left)),
        Piece(part, x),
        Piece(Content(" " * (free - left))),
    ]
