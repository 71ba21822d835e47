"""A chunk of a message on screen: a `Static` that needs a layout only if its height changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message
from textual.selection import Selection
from textual.style import Style
from textual.widget import Widget
from textual.widgets import Static

from ttchat_tui.domain.matching import Matcher
from ttchat_tui.ui.markdown.code_rows import CodeHeader
from ttchat_tui.ui.markdown.rows import RenderRow
from ttchat_tui.ui.markdown.visual import Hit, RowsVisual
from ttchat_tui.ui.textual_patches.no_second_layout import NoSecondLayout
from ttchat_tui.ui.textual_patches.stream_layout import MeasuredAnew
from ttchat_tui.ui.textual_patches.style_cache import ClearsStyleCache
from ttchat_tui.ui.widgets.transcript.thought_rows import ThoughtHeader


class MessageChunk(NoSecondLayout, ClearsStyleCache, MeasuredAnew, Static):
    """Draws rows."""

    DEFAULT_CSS = "MessageChunk { height: auto; width: 1fr; }"

    @dataclass
    class CodeHeaderClicked(Message):
        """The header of fence number `code_index` of the message was clicked."""

        chunk: MessageChunk
        code_index: int

    @dataclass
    class ThoughtClicked(Message):
        """The line of thought `number` of the message was clicked."""

        chunk: MessageChunk
        number: int

    def __init__(self, rows: Sequence[RenderRow], *, classes: str | None = None) -> None:
        self._rows = tuple(rows)
        self._matcher: Matcher | None = None
        self._current: int | None = None
        self.hits: list[Hit] = []
        """What is marked."""
        super().__init__(RowsVisual(self._rows, self._style_named), classes=classes)

    @property
    def rows(self) -> Sequence[RenderRow]:
        return self._rows

    def show(self, rows: Sequence[RenderRow]) -> None:
        """Draw other rows, if they look different."""
        old = self._rows
        if len(rows) == len(old) and all(
            mine is its or mine.looks_like(its) for mine, its in zip(rows, old, strict=True)
        ):
            self._rows = tuple(rows)  # their source may differ: the end of a fence is not drawn
            return
        width = self.size.width
        height = self.height_of(width) if width else -1
        self._rows = tuple(rows)
        has_new_height = self.height_of(width) != height if width else True
        self._find()
        self.update(self._visual(), layout=has_new_height)

    def mark(self, matcher: Matcher | None, current: int | None) -> None:
        """Mark what `matcher` finds in the rows, and hit number `current` in another way."""
        had_hits, has_changed = bool(self.hits), matcher is not self._matcher
        if has_changed:
            self._matcher = matcher
            self._find()
        if current is not None and not 0 <= current < len(self.hits):  # in another chunk
            current = None
        if (has_changed and (had_hits or self.hits)) or current != self._current:
            self._current = current
            self.update(self._visual(), layout=False)

    def _find(self) -> None:
        matcher = self._matcher
        self.hits = [
            Hit(y, *span)
            for y, row in enumerate(self._rows if matcher is not None else ())
            for span in (matcher.spans(row.plain) if matcher is not None else ())
        ]

    def _visual(self) -> RowsVisual:
        marks = [
            (hit, ".hit-current" if index == self._current else ".hit") for index, hit in enumerate(self.hits)
        ]
        return RowsVisual(self._rows, self._style_named, marks)

    def line_of(self, hit: Hit, width: int) -> int:
        """The line of the chunk, at `width` columns, in which `hit` begins."""
        lines = self._rows[hit.row].lines(width)
        starts = [
            index for index, line in enumerate(lines)
            if any(span.x is not None and span.x <= hit.start < span.x + len(span.content) for span in line)
        ]  # fmt: skip
        return sum(len(row.lines(width)) for row in self._rows[: hit.row]) + (starts[0] if starts else 0)

    def height_of(self, width: int) -> int:
        """The number of lines at `width` columns."""
        return sum(len(row.lines(width)) for row in self._rows)

    def _style_named(self, name: str) -> Style:
        return style_around(self, name)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        flows_on = bool(self._rows) and self._rows[-1].flows_on
        return RowsVisual(self._rows).selected_text(selection), "" if flows_on else "\n"

    def on_click(self, event: events.Click) -> None:
        y = event.y
        for row in self._rows:
            y -= len(row.lines(self.size.width))
            if y < 0:
                if isinstance(row, CodeHeader):
                    event.stop()
                    self.post_message(self.CodeHeaderClicked(self, row.code_index))
                elif isinstance(row, ThoughtHeader):
                    event.stop()
                    self.post_message(self.ThoughtClicked(self, row.number))
                return


def style_around(widget: Widget, name: str) -> Style:
    """The style of a component class, from the nearest ancestor that has it.

    `Widget.get_visual_style(partial=True)` loses opaque backgrounds (Textual 8.2.8).
    """
    for node in widget.ancestors:
        if isinstance(node, Widget) and name in node.COMPONENT_CLASSES:
            styles = node.get_component_styles(name)
            return Style(
                background=styles.background if styles.has_rule("background") else None,
                foreground=styles.color if styles.has_rule("color") else None,
            ) + Style.from_rich_style(styles.text_style)
    return Style()
