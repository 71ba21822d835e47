"""Rows of a table. While it streams, the first rows set the column widths; a complete table uses all rows."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.block_starts import table_cells
from ttchat_tui.ui.markdown.blocks import Leaf
from ttchat_tui.ui.markdown.inline import parse_inline
from ttchat_tui.ui.markdown.rows import EMPTY, RenderRow
from ttchat_tui.ui.markdown.tables import TableColumns, TableRow, TableRule, extents

BATCH: Final = 16
"""Rows that are settled together."""
_READ: Final = 2000
"""Characters shown of the beginning of an incomplete row, and …"""
_LATEST: Final = 160
"""… of its end. Each update draws the row again, so its cost must be bounded."""


class TableRows:
    """A GFM table."""

    def __init__(self, lead: Content, rest: Content, references: dict[str, object]) -> None:
        self._lead = lead
        self._rest = rest
        self._references = references
        self._cells: list[tuple[Content, ...]] = []
        """The cells of complete lines."""
        self._natural: list[int] = []
        """The widest cell of each column among them."""
        self._words: list[int] = []
        """The longest word of each column among them."""
        self._source: list[str] = []
        self._head: list[str] = []
        self._line = 0
        """Lines that are settled."""
        self._columns: TableColumns | None = None
        """The columns of the settled rows."""
        self._beginning: tuple[str, tuple[Content, ...]] = ("", ())
        """Of a long last row: the parsed beginning, and its cells."""
        self._drawn: dict[int, TableRow] = {}
        """Unsettled rows by line, for reuse."""

    def fits(self, leaf: Leaf) -> bool:
        return self._line <= len(leaf.lines)

    def settle(self, leaf: Leaf) -> list[RenderRow]:
        self._read(leaf, len(leaf.lines) - 1)
        rows: list[RenderRow] = []
        while len(self._cells) - self._line >= BATCH:
            if self._columns is None:
                self._columns = self._columns_of(leaf)
            end = self._line + BATCH
            rows += self._rows(self._cells[self._line : end], self._columns, self._line)
            self._line = end
            self._drawn.clear()
        return rows

    def rest(self, leaf: Leaf) -> list[RenderRow]:
        complete = len(leaf.lines) - 1
        if self._line > complete:
            return []  # the last line has begun another block
        self._read(leaf, complete)
        last = self._parse_unfinished(leaf, leaf.lines[-1])
        columns = self._columns or self._columns_of(leaf, last)
        return self._rows([*self._cells[self._line : complete], last], columns, self._line)

    def close(self, leaf: Leaf) -> list[RenderRow] | None:
        self._read(leaf, len(leaf.lines))
        columns = self._columns_of(leaf)
        if self._columns is not None and self._columns != columns:
            return None
        return self._rows(self._cells[self._line :], columns, self._line)

    def whole(self, leaf: Leaf) -> list[RenderRow]:
        self._read(leaf, len(leaf.lines))
        return self._rows(self._cells, self._columns_of(leaf), 0)

    def _read(self, leaf: Leaf, end: int) -> None:
        self._source, self._head = leaf.source, leaf.head
        for line in leaf.lines[len(self._cells) : end]:
            cells = self._parse(leaf, line)
            widths, words = extents(cells)
            self._natural = _largest(self._natural, widths)
            self._words = _largest(self._words, words)
            self._cells.append(cells)

    def _columns_of(self, leaf: Leaf, last: tuple[Content, ...] = ()) -> TableColumns:
        """The columns for the complete lines and an incomplete last one."""
        widths, words = extents(last)
        titles = self._cells[0] if self._cells and (last or len(self._cells) > 1) else ()
        return TableColumns(
            _largest(self._natural, widths), _largest(self._words, words), leaf.aligns, titles
        )

    def _parse(self, leaf: Leaf, line: str) -> tuple[Content, ...]:
        """A line's cells, one per column; missing ones are empty."""
        sources = table_cells(line, len(leaf.aligns))
        cells = [parse_inline(source, self._references).content for source in sources]
        return tuple(cells + [EMPTY] * (len(leaf.aligns) - len(cells)))

    def _parse_unfinished(self, leaf: Leaf, line: str) -> tuple[Content, ...]:
        """The cells of the last row. Of a long one, the beginning (parsed once) and the newest text, unparsed."""
        if len(line) <= _READ:
            return self._parse(leaf, line)
        beginning = line[:_READ].rstrip()
        if self._beginning[0] != beginning:
            self._beginning = beginning, self._parse(leaf, beginning)
        cells = list(self._beginning[1])
        latest = max((index for index, cell in enumerate(cells) if cell), default=0)
        cells[latest] += visible(f" … {line[max(_READ, len(line) - _LATEST) :]}")
        return tuple(cells)

    def _rows(self, lines: list[tuple[Content, ...]], columns: TableColumns, first: int) -> list[RenderRow]:
        rows: list[RenderRow] = []
        for index, cells in enumerate(lines, first):
            row = self._drawn.get(index)
            if row is None or row.columns != columns or row.cells is not cells:
                row = self._row(cells, columns, is_header=index == 0)
                self._drawn[index] = row
            row.source = self._source[index + (index > 0)]  # The second line is the rule.
            rows.append(row)
            if index == 0:
                row.source = "\n".join([*self._head, row.source])
                rule = TableRule(columns, rest=self._rest)
                rule.source = self._source[1]
                rows.append(rule)
        return rows

    def _row(self, cells: tuple[Content, ...], columns: TableColumns, *, is_header: bool) -> TableRow:
        shown = [cell.stylize_before("bold") for cell in cells] if is_header else cells
        lead = self._lead if is_header else self._rest
        return TableRow(shown, columns, lead=lead, rest=self._rest, cost=1 / BATCH, is_header=is_header)


def _largest(one: list[int], other: list[int]) -> list[int]:
    """The larger value of each column; an empty list counts as zeros."""
    return [max(pair) for pair in zip(one, other, strict=True)] if one and other else one or other
