"""Textual's `Visual` for a chunk of rows, with text selection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from rich.segment import Segment
from textual.css.styles import RulesMap
from textual.selection import Selection
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from ttchat_tui.ui.markdown.links import with_one_id
from ttchat_tui.ui.markdown.rows import RenderRow, RenderSpan, VisualLine
from ttchat_tui.ui.markdown.source import part_of


class Hit(NamedTuple):
    """A part of a row's text."""

    row: int
    start: int
    end: int


class RowsVisual(Visual):
    """Draws a chunk. The rows are not copied and must not change."""

    def __init__(
        self,
        rows: Sequence[RenderRow],
        style_named: Callable[[str], Style] | None = None,
        marks: Sequence[tuple[Hit, str]] = (),
        first: int = 0,
    ) -> None:
        """`marks`: parts of the text, each with a style of its own. `first`: the first visual line that is drawn."""
        self.rows = rows
        self._first = first
        self._marks: dict[int, list[tuple[int, int, str]]] = {}
        for hit, mark in marks:
            self._marks.setdefault(hit.row, []).append((hit.start, hit.end, mark))
        self._style_named = style_named
        """Resolves `.md-…` in rows and contents; by default, the widget's component classes."""

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return sum(len(row.lines(width)) for row in self.rows) - self._first

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        strips: list[Strip] = []
        before = self._first
        options = replace(options, get_style=self._resolver(options))
        for y, row in enumerate(self.rows):
            base = style + options.get_style(row.style) if row.style else style
            span = options.selection.get_span(y) if options.selection is not None else None
            marks = self._marks.get(y, ())
            lines = row.lines(width)[before:]
            before = max(0, before - len(row.lines(width)))
            for line in lines:
                if marks:
                    line = tuple(_marked(each, marks) for each in line)
                strips.append(_draw(line, y, width, style, base, span, options))
        return strips if height is None else strips[:height]

    def _resolver(self, options: RenderOptions) -> Callable[[str | Style], Style]:
        named = self._style_named

        @cache
        def resolve(style: str | Style) -> Style:
            if named is not None and isinstance(style, str) and style.startswith("."):
                return named(style[1:])
            return options.get_style(style)

        return resolve

    def selected_text(self, selection: Selection) -> str:
        """The source under `selection`, whose y counts rows and whose x counts characters of a row's text."""
        parts: list[str] = []
        between = ""
        for y, row in enumerate(self.rows):
            span = selection.get_span(y)
            if span is None or row.source is None:
                continue
            start, end = span
            parts.append(between)
            parts.append(part_of(row.source, row.plain, start, len(row.plain) if end == -1 else end))
            if end == -1 and row.tail is not None:
                parts.append("\n" + row.tail)
            between = "" if row.flows_on else "\n"
        return "".join(parts)


def _marked(span: RenderSpan, marks: Sequence[tuple[int, int, str]]) -> RenderSpan:
    """`span` with the marks that lie in it."""
    content, x, is_inside = span
    if x is not None:
        for start, end, style in marks:
            if start < x + len(content) and end > x:
                content = content.stylize(style, max(0, start - x), end - x)
    return RenderSpan(content, x, is_inside)


def _draw(
    line: VisualLine,
    y: int,
    width: int,
    outside: Style,
    inside: Style,
    span: tuple[int, int] | None,
    options: RenderOptions,
) -> Strip:
    """One visual line of row `y`, padded to `width` in the style `inside`."""
    segments: list[Segment] = []
    cells = 0
    for content, x, is_inside in line:
        base = inside if is_inside else outside
        shown = content
        if span is not None and x is not None and options.selection_style is not None:
            start, end = span
            stop = len(content) if end == -1 else min(len(content), end - x)
            if stop > max(0, start - x):
                shown = content.stylize(options.selection_style, max(0, start - x), stop)
        at = x
        for text, text_style in shown.render(base, end="", parse_style=options.get_style):
            combined = base + text_style
            if at is None:
                segments.append(Segment(text, with_one_id(combined.rich_style)))
            else:
                segments.append(Segment(text, with_one_id(combined.rich_style_with_offset(at, y))))
                at += len(text)
        cells += content.cell_length
    return Strip(segments, cells).adjust_cell_length(width, inside.rich_style)
