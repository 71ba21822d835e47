"""Tables: columns as wide as their widest cell; where the screen is narrow, cells wrap, and words stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Align
from ttchat_tui.ui.markdown.rows import EMPTY, Piece, Row, VisualLine
from ttchat_tui.ui.markdown.wrap import longest_word, wrap_offsets

_FAINT: Final = ".md-faint"
_BAR: Final = Content.styled(" │ ", _FAINT)
_NARROWEST: Final = 3
"""Columns below which a table is no use: its rows are then shown as text with bars."""


class Columns:
    """The columns that the rows of one table share."""

    def __init__(self, natural: Sequence[int], words: Sequence[int], aligns: Sequence[Align]) -> None:
        self.natural = tuple(natural)
        """Columns of the screen that each needs to show its widest cell in one line."""
        self.words = tuple(words)
        """Columns of the screen that each needs to break no word."""
        self.aligns = tuple(aligns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and (self.natural, self.words, self.aligns) == (
            other.natural,
            other.words,
            other.aligns,
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def widths(self, width: int) -> list[int]:
        """Widths that fit into `width` together with the bars; empty if that would be too narrow to read."""
        count = len(self.natural)
        room = width - len(_BAR) * (count - 1)
        if sum(self.natural) <= room:
            return list(self.natural)
        if room < _NARROWEST * count:
            return []
        least = self._least(room)
        needs = [natural - at_least for natural, at_least in zip(self.natural, least, strict=True)]
        slack = room - sum(least)
        widths = [at_least + slack * need // sum(needs) for at_least, need in zip(least, needs, strict=True)]
        needy = [column for column, need in enumerate(needs) if need]
        for column in needy[: room - sum(widths)]:  # what rounding down has left over: less than a cell each
            widths[column] += 1
        return widths

    def _least(self, room: int) -> list[int]:
        """What each column has before the rest is shared: a short one all it needs, a wide one its longest word, as far
        as there is room for all of them."""
        fair = room // len(self.natural)
        whole = [
            natural if natural <= fair else word
            for natural, word in zip(self.natural, self.words, strict=True)
        ]
        if sum(whole) <= room:
            return whole
        if sum(self.words) <= room:
            return list(self.words)
        return [min(natural, fair) for natural in self.natural]


def extents(cells: Sequence[Content]) -> tuple[list[int], list[int]]:
    """What `Columns` wants to know of one row: for each cell its width and that of its longest word."""
    return [max(1, cell.cell_length) for cell in cells], [max(1, longest_word(cell.plain)) for cell in cells]


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
