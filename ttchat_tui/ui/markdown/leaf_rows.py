"""Rows of leaf blocks: rows that can no longer change are settled, the others are drawn again with each update.

The distinction is invisible: settled rows and the rest together look like `whole`. Where they would not (a table got wider,
a paragraph became a heading), the caller uses `whole` instead.
"""

from __future__ import annotations

from typing import Final, Protocol

from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Frame, Leaf
from ttchat_tui.ui.markdown.code_rows import CodeRows
from ttchat_tui.ui.markdown.rows import EMPTY, RenderRow, RuleRow, TextRow
from ttchat_tui.ui.markdown.table_rows import TableRows
from ttchat_tui.ui.markdown.text_rows import TextRows

_APART: Final = frozenset({"code", "table", "rule"})
"""Blocks that always have a blank line on both sides."""

_BAR: Final = Content.styled("▎ ", ".md-bar")


class LeafRows(Protocol):
    """Draws one growing leaf. `settle` and `rest` are called with ever longer versions of it."""

    def fits(self, leaf: Leaf) -> bool:
        """Whether the settled rows still belong to `leaf`."""
        ...

    def settle(self, leaf: Leaf) -> list[RenderRow]:
        """The next rows that cannot change any more; a bounded number stays in `rest`."""
        ...

    def rest(self, leaf: Leaf) -> list[RenderRow]:
        """All rows after the settled ones."""
        ...

    def close(self, leaf: Leaf) -> list[RenderRow] | None:
        """The rows after the settled ones of a complete leaf; None if `whole` would look different."""
        ...

    def whole(self, leaf: Leaf) -> list[RenderRow]:
        """All rows of a complete leaf."""
        ...


def leaf_rows(leaf: Leaf, references: dict[str, object], code_index: int) -> LeafRows:
    """The rows of `leaf`. `code_index`: the number of fences before it, for copying."""
    lead, rest = _prefixes(leaf)
    match leaf.kind:
        case "paragraph" | "heading":
            return TextRows(lead, rest, references)
        case "code" | "html" | "definition":
            return CodeRows(lead, rest, code_index)
        case "table":
            return TableRows(lead, rest, references)
        case "rule":
            return _FixedRows(RuleRow(lead=lead, cost=1 / 16, source="\n".join(leaf.head + leaf.source)))
        case "empty":
            row = TextRow(EMPTY, lead=lead, rest=rest, cost=1 / 16)
            row.source = "\n".join(leaf.head)
            return _FixedRows(row)


def gap_rows(leaf: Leaf, previous: Leaf | None) -> list[RenderRow]:
    """The blank row between two leaves, if any: where the source has one, and around code and tables.

    It depends on the two leaves only, so that later items of a list never change earlier ones.
    """
    if previous is None:
        return []
    shared = 0
    for mine, its in zip(leaf.path, previous.path, strict=False):
        if mine.serial != its.serial:
            break
        shared += 1
    leaves_quote = any(frame.is_quote for frame in leaf.path[shared:] + previous.path[shared:])
    is_apart = leaf.kind in _APART or previous.kind in _APART or leaf.kind == "heading"
    if not (leaf.has_blank_before or leaves_quote or is_apart):
        return []
    row = TextRow(EMPTY, lead=_rest_prefix(leaf.path[:shared]))
    row.source = "\n".join(leaf.before) if leaf.before else None
    return [row]


def _prefixes(leaf: Leaf) -> tuple[Content, Content]:
    parts: list[Content] = []
    for index, frame in enumerate(leaf.path):
        if frame.is_quote:
            parts.append(_BAR)
        elif index < leaf.fresh:
            parts.append(_blank(frame))
        elif index == len(leaf.path) - 1 and leaf.is_task_done is not None:
            box = "✓" if leaf.is_task_done else "☐"
            parts.append(Content.styled(box.rjust(len(frame.marker)) + " ", ".md-marker"))
        else:
            parts.append(Content.styled(frame.marker + " ", ".md-marker"))
    return EMPTY.join(parts), _rest_prefix(leaf.path)


def _rest_prefix(path: tuple[Frame, ...]) -> Content:
    return EMPTY.join(_BAR if frame.is_quote else _blank(frame) for frame in path)


def _blank(frame: Frame) -> Content:
    return Content(" " * (len(frame.marker) + 1))


class _FixedRows:
    """A leaf of one row."""

    def __init__(self, row: RenderRow) -> None:
        self._row = row

    def fits(self, leaf: Leaf) -> bool:
        return True

    def settle(self, leaf: Leaf) -> list[RenderRow]:
        return []

    def rest(self, leaf: Leaf) -> list[RenderRow]:
        return [self._row]

    def close(self, leaf: Leaf) -> list[RenderRow] | None:
        return [self._row]

    def whole(self, leaf: Leaf) -> list[RenderRow]:
        return [self._row]
