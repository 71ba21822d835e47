"""Layout of tables: columns fit their widest cell; on a narrow screen cells wrap between words.

If words would break, each row becomes a record: lines of `title: value`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Align
from ttchat_tui.ui.markdown.rows import EMPTY, RenderRow, RenderSpan, VisualLine, fitted
from ttchat_tui.ui.markdown.wrap import longest_word, wrap_offsets

_FAINT: Final = ".md-faint"
_BAR: Final = Content.styled(" │ ", _FAINT)
_NARROWEST: Final = 3
"""The narrowest useful column, in cells; below it rows are shown as records."""


class TableColumns:
    """The columns that the rows of one table share."""

    def __init__(
        self,
        natural: Sequence[int],
        words: Sequence[int],
        aligns: Sequence[Align],
        titles: Sequence[Content] = (),
    ) -> None:
        self.natural = tuple(natural)
        """The width in cells that each column needs for its widest cell."""
        self.words = tuple(words)
        """The width in cells that each column needs for its longest word."""
        self.aligns = tuple(aligns)
        self.titles = tuple(titles)
        """The header's cells; empty while no row follows it."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TableColumns)
            and (self.natural, self.words, self.aligns) == (other.natural, other.words, other.aligns)
            and len(self.titles) == len(other.titles)
            and all(mine.is_same(its) for mine, its in zip(self.titles, other.titles, strict=True))
        )

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def widths(self, width: int) -> list[int]:
        """Column widths that fit into `width` with the bars; empty if words would break: rows are then records."""
        count = len(self.natural)
        room = width - len(_BAR) * (count - 1)
        if sum(self.natural) <= room:
            return list(self.natural)
        if room < _NARROWEST * count or sum(self.words) > room:
            return []
        least = self._least(room)
        needs = [natural - at_least for natural, at_least in zip(self.natural, least, strict=True)]
        slack = room - sum(least)
        widths = [at_least + slack * need // sum(needs) for at_least, need in zip(least, needs, strict=True)]
        needy = [column for column, need in enumerate(needs) if need]
        for column in needy[: room - sum(widths)]:  # the remainder of rounding down
            widths[column] += 1
        return widths

    def _least(self, room: int) -> list[int]:
        """The minimum width of each column: a narrow column's full width, a wide one's longest word. If that does not fit,
        the longest word of each."""
        fair = room // len(self.natural)
        whole = [
            natural if natural <= fair else word
            for natural, word in zip(self.natural, self.words, strict=True)
        ]
        return whole if sum(whole) <= room else list(self.words)


def extents(cells: Sequence[Content]) -> tuple[list[int], list[int]]:
    """For each cell of a row its width, and the width of its longest word."""
    natural = [max(1, *map(cell_len, cell.plain.split("\n"))) for cell in cells]
    return natural, [max(1, longest_word(cell.plain)) for cell in cells]


class TableRow:
    """One row of a table. Its text is the cells, joined by bars."""

    flows_on = False

    def __init__(
        self,
        cells: Sequence[Content],
        columns: TableColumns,
        *,
        lead: Content = EMPTY,
        rest: Content = EMPTY,
        cost: float = 0.0,
        is_header: bool = False,
    ) -> None:
        self.cells = tuple(cells)
        self.columns = columns
        self.lead = lead
        self.rest = rest
        self.cost = cost
        self.style = ""
        self.is_header = is_header
        self.source: str | None = None
        self.tail = None
        self._cache: tuple[int, list[VisualLine]] | None = None

    @property
    def plain(self) -> str:
        return _BAR.plain.join(cell.plain for cell in self.cells)

    def lines(self, width: int) -> Sequence[VisualLine]:
        if self._cache is None or self._cache[0] != width:
            self._cache = (width, self._lay_out(width))
        return self._cache[1]

    def looks_like(self, other: RenderRow) -> bool:
        return (
            isinstance(other, TableRow)
            and self.columns == other.columns
            and len(self.cells) == len(other.cells)
            and all(mine.is_same(its) for mine, its in zip(self.cells, other.cells, strict=True))
            and self.lead.is_same(other.lead)
            and self.rest.is_same(other.rest)
        )

    def _lay_out(self, width: int) -> list[VisualLine]:
        lead, rest = fitted(self.lead, width), fitted(self.rest, width)
        room = width - rest.cell_length
        if widths := self.columns.widths(room):
            body = self._cells_side_by_side(widths)
        else:
            body = self._record_title(room) if self.is_header else self._record(room)
        return [
            tuple(
                piece
                for piece in (RenderSpan(rest if index else lead, None, False), *pieces)
                if piece.content
            )
            for index, pieces in enumerate(body)
        ]

    def _cells_side_by_side(self, widths: list[int]) -> list[list[RenderSpan]]:
        stacks = [_wrapped(cell, columns) for cell, columns in zip(self.cells, widths, strict=True)]
        lines: list[list[RenderSpan]] = []
        for index in range(max(map(len, stacks))):
            pieces: list[RenderSpan] = []
            at = 0
            for column, stack in enumerate(stacks):
                if column:
                    pieces.append(RenderSpan(_BAR))
                part, offset = stack[index] if index < len(stack) else (EMPTY, 0)
                pieces += _padded(part, at + offset, widths[column], self.columns.aligns[column])
                at += len(self.cells[column]) + len(_BAR)
            lines.append(pieces)
        return lines

    def _record_title(self, width: int) -> list[list[RenderSpan]]:
        """The header above records: a rule, since their lines start with the column titles."""
        return (
            [[RenderSpan(Content.styled("─" * width, _FAINT))]]
            if self.columns.titles
            else self._record(width)
        )

    def _record(self, width: int) -> list[list[RenderSpan]]:
        """The row as lines of `title: value`, with a rule below."""
        lines: list[list[RenderSpan]] = []
        at = 0
        titles = self.columns.titles or (EMPTY,) * len(self.cells)
        for title, cell in zip(titles, self.cells, strict=True):
            name = EMPTY.join(title.stylize_before("bold").split("\n"))
            label = name + Content.styled(": ", _FAINT) if name else EMPTY
            indent = min(2, width - 1)
            if label.cell_length > width // 2:
                lines += [[RenderSpan(part)] for part, _ in _wrapped(label, width)]
                label = Content(" " * indent)
            for index, (part, offset) in enumerate(
                _wrapped(cell, width - indent, label.cell_length - indent)
            ):
                lines.append(
                    [RenderSpan(Content(" " * indent) if index else label), RenderSpan(part, at + offset)]
                )
            at += len(cell) + len(_BAR)
        lines.append([RenderSpan(Content.styled("─" * width, _FAINT))])
        return lines


class TableRule:
    """The line under a table's header."""

    flows_on = False
    plain = ""

    def __init__(self, columns: TableColumns, *, rest: Content = EMPTY) -> None:
        self.columns = columns
        self.source: str | None = None
        self.tail = None
        self.rest = rest
        self.cost = 0.0
        self.style = ""

    def lines(self, width: int) -> Sequence[VisualLine]:
        rest = fitted(self.rest, width)
        room = width - rest.cell_length
        widths = self.columns.widths(room)
        if not widths:
            return []
        rule = Content.styled("─┼─".join("─" * columns for columns in widths), _FAINT)
        return [(RenderSpan(rest, None, False), RenderSpan(rule))]

    def looks_like(self, other: RenderRow) -> bool:
        return (
            isinstance(other, TableRule) and self.columns == other.columns and self.rest.is_same(other.rest)
        )


def _wrapped(cell: Content, width: int, used: int = 0) -> list[tuple[Content, int]]:
    """The lines of a cell with their offsets; the first is `used` columns shorter."""
    lines: list[tuple[Content, int]] = []
    at = 0
    for line in cell.split("\n", allow_blank=True):
        blank = Content(" " * max(0, used)) if not lines else EMPTY
        text = blank + line if blank else line
        offsets = wrap_offsets(text.plain, max(2, width))
        for part, offset in zip(text.divide(offsets[1:]), offsets, strict=True):
            skipped = max(0, len(blank) - offset)
            lines.append((part[skipped:].rstrip(), at + max(0, offset - len(blank))))
        at += len(line) + 1
    return lines


def _padded(part: Content, x: int, width: int, align: Align) -> list[RenderSpan]:
    free = max(0, width - part.cell_length)
    left = free if align == "right" else free // 2 if align == "center" else 0
    return [
        RenderSpan(Content(" " * left)),
        RenderSpan(part, x),
        RenderSpan(Content(" " * (free - left))),
    ]
