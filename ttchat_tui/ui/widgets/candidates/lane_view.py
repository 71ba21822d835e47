"""One of several replies on screen: the transcript's Markdown, drawn by lines, so that growing needs no layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.style import Style

from ttchat_tui.domain.text import visible
from ttchat_tui.session.lane import Lane
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.rows import RenderRow, VisualLine, same_lines
from ttchat_tui.ui.markdown.visual import Hit, RowsVisual
from ttchat_tui.ui.widgets.candidates.differences import Marks
from ttchat_tui.ui.widgets.candidates.lane_words import figures_of_lane, is_worth_showing
from ttchat_tui.ui.widgets.transcript.chunk import style_around
from ttchat_tui.ui.widgets.transcript.folding import Folding
from ttchat_tui.ui.widgets.transcript.message_format import literal_of
from ttchat_tui.ui.widgets.transcript.reply_document import ReplyDocument
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

MOST_STEP: Final = 6
"""Lines that come into view at once where the view follows the end, at most a quarter of its rows, since they are blank until
they are written: a scroll draws all lines of the view anew, and eight replies that all move by single lines cannot be read
either."""


_BORDER_CELLS: Final = 4
"""Corners and blanks beside a title in the border."""


class DrawnRow(NamedTuple):
    row: RenderRow
    lines: Sequence[VisualLine]
    base: Style
    marks: Sequence[tuple[Hit, str]]
    strips: list[Strip]

    def is_as(
        self,
        row: RenderRow,
        lines: Sequence[VisualLine],
        base: Style,
        marks: Sequence[tuple[Hit, str]],
        width: int,
    ) -> bool:
        """Whether `row` would be drawn like this. A row makes its lines once for a width."""
        if self.base != base or self.marks != marks:
            return False
        if row is self.row:
            return lines is self.lines
        return self.row.lines(width) is self.lines and self.row.looks_like(row)


class LaneGrid(Container):
    """Around the lanes. It has the styles of what they show: a lane would make all of them anew with each change of focus."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*Transcript.COMPONENT_CLASSES, "lane--different"}
    DEFAULT_CSS = "LaneGrid { layout: grid; }"


class LaneView(ScrollView, can_focus=True):
    """Shows a lane, which may grow. The view follows its end until the reader scrolls away from it."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "LaneView { overflow-x: hidden; overflow-y: scroll; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "screen.move(-1)", "Previous", show=False),
        Binding("right", "screen.move(1)", "Next", show=False),
    ]

    def __init__(self, lane: Lane, number: int, folding: Folding) -> None:
        super().__init__()
        self.lane = lane
        self.number = number
        self.settings = ""
        """Of the reply, after its label: see `settings_beside`."""
        self._folding = folding
        self._source = ""
        self._is_final = self._is_paused = False
        self._document, self._drawn_of = self._new_document(), self.lane.message
        self._drawn: list[list[DrawnRow]] = []
        """Of each chunk."""
        self._lines: list[Strip] = []
        """Of all of them."""
        self._starts: list[int] = []
        """The first line of each chunk."""
        self._marks: Marks = {}
        self._looks: tuple[object, ...] = ()
        self._title = self._subtitle = ""
        self._shown_s = 0.0
        self._width = 0
        """Of the lines that are drawn."""
        self._blank = Strip.blank(0)
        """One without text."""
        self._reason: list[Strip] = []
        """Why the reply failed, or has no text; after the text."""

    def _new_document(self) -> ReplyDocument:
        message = self.lane.message
        key, literal = (message.id, literal_of(message)) if message is not None else (0, None)
        return ReplyDocument(key, self._folding, is_streaming=True, literal=literal)

    @property
    def chunks(self) -> list[RenderChunk]:
        return self._document.chunks

    def on_mount(self) -> None:
        self.flush(0.0)

    def flush(self, now_s: float, *, is_paused: bool = False) -> None:
        """Draw what has come since the last call. `now_s`: a clock, for figures that move. `is_paused`: all replies are."""
        if is_paused != self._is_paused:
            self._is_paused = is_paused
            self._draw(len(self._drawn))  # with or without rows for what is to come
        lane, message = self.lane, self.lane.message
        text, is_ended = lane.text, lane.state == "ended"
        is_other = (message and message.id) != (self._drawn_of and self._drawn_of.id)
        if (
            is_other
            or not text.startswith(self._source)
            or (is_ended and text != self._source and self._is_final)
        ):
            self._source, self._is_final = "", False
            self._document, self._drawn_of = self._new_document(), message
            self._marks = {}
            self._draw(0)
        self._document.figures = lane.thoughts
        if len(text) > len(self._source):
            self._document.feed(text[len(self._source) :])
            self._source = text
            first, header = self._document.update(), self._document.header_row
            self._draw(first if header is None else min(first, header))
        if is_ended and not self._is_final:
            self._is_final = True
            self._draw(self._document.finish() if text else 0)
        elif self._reason and not is_ended:  # it begins again
            self._draw(0)
        self._show_figures(now_s)

    def _show_figures(self, now_s: float) -> None:
        if is_worth_showing(self.lane, now_s - self._shown_s) and self._say_figures():
            self._shown_s = now_s
        title = " · ".join(filter(None, (str(self.number), visible(self.lane.label), visible(self.settings))))
        if title != self._title:  # to set it draws the whole view anew
            self._title = title
            self.border_title = Content(title)

    def _say_figures(self) -> bool:
        """Returns whether they are others."""
        words = figures_of_lane(self.lane, max(0, self.outer_size.width - _BORDER_CELLS))
        is_other, self._subtitle = words != self._subtitle, words
        if is_other:
            self.border_subtitle = Content(visible(words))
        return is_other

    # --- drawing

    def _draw(self, first: int) -> None:
        """Draw the chunks from number `first` on. Rows that are as before are not drawn again."""
        width = self._width = self.scrollable_content_region.width
        if width <= 0:
            return
        self._blank = Strip.blank(width, self.rich_style)
        is_at_end = self.scroll_y >= self.max_scroll_y - 1
        chunks = self._document.chunks
        first = min(first, len(self._drawn))
        known = self._drawn[first:]
        del self._drawn[first:]
        begin = self._starts[first] if first < len(self._starts) else len(self._lines)
        del self._starts[first:]
        replaced = self._lines[begin:]
        before = len(self._lines) + len(self._reason)
        del self._lines[begin:]
        for number, chunk in enumerate(chunks[first:], start=first):
            its_before = known[number - first] if number - first < len(known) else []
            rows = self._rows_of(number, chunk, its_before, width)
            self._drawn.append(rows)
            self._starts.append(len(self._lines))
            self._lines += [strip for row in rows for strip in row.strips]
        for old, new in zip(replaced, self._lines[begin:], strict=False):
            if old is not new:
                break
            begin += 1
        self._reason = self._draw_reason(width)
        height = len(self._lines) + len(self._reason)
        shown = self.scrollable_content_region.height
        if height > shown and self.lane.state == "running" and not self._is_paused:
            # Not all views scroll at the same moment.
            height += -(height + self.number) % max(1, min(MOST_STEP, shown // 4))
        if height != self.virtual_size.height:
            self._set_height(height)
        self.refresh_lines(begin, max(before, height) - begin)
        if is_at_end and self.max_scroll_y > 0:
            self.scroll_to(y=self.max_scroll_y, animate=False, force=True, immediate=True)

    def _set_height(self, lines: int) -> None:
        """The text has so many lines. To set `virtual_size` as Textual does lays out the whole screen, which draws every
        widget anew, though only the scroll bar changes."""
        self.set_reactive(ScrollView.virtual_size, Size(0, lines))  # pyright: ignore[reportArgumentType]
        self.vertical_scrollbar.window_virtual_size = lines
        self.vertical_scrollbar.window_size = self.container_size.height
        self.scroll_y = self.validate_scroll_y(self.scroll_y)

    def _rows_of(
        self, number: int, chunk: RenderChunk, before: Sequence[DrawnRow], width: int
    ) -> list[DrawnRow]:
        """The rows of a chunk; those of `before` that are the same are taken over."""
        marks = self._marks.get(number, ())
        base = self.visual_style + self._style_named("md-faint") if chunk.is_thought else self.visual_style
        drawn: list[DrawnRow] = []
        for y, row in enumerate(chunk.rows):
            lines = row.lines(width)
            own = [(hit._replace(row=0), style) for hit, style in marks if hit.row == y]
            known = before[y] if y < len(before) else None
            if known is None or not known.is_as(row, lines, base, own, width):
                is_alike = known is not None and (known.base, known.marks, known.row.style) == (
                    base,
                    own,
                    row.style,
                )
                same = same_lines(known.lines, lines) if known is not None and is_alike else 0
                strips = known.strips[:same] if known is not None else []
                if same < len(lines):
                    visual = RowsVisual([row], self._style_named, own, same)
                    strips += visual.to_strips(self, visual, width, None, base, apply_selection=False)
                known = DrawnRow(row, lines, base, own, strips)
            drawn.append(known)
        return drawn

    def _style_named(self, name: str) -> Style:
        return style_around(self, name)

    def mark(self, marks: Marks) -> None:
        """Mark these words."""
        if marks != self._marks:
            self._marks = marks
            self._draw(0)

    def render_line(self, y: int) -> Strip:
        row = round(self.scroll_y) + y
        if row < len(self._lines):
            return self._lines[row]
        row -= len(self._lines)
        return self._reason[row] if row < len(self._reason) else self._blank

    def _draw_reason(self, width: int) -> list[Strip]:
        if not self.lane.note:
            return []
        note = Content.styled(visible(self.lane.note), self._style_named("md-faint"))
        strips = note.to_strips(self, note, width, None, self.visual_style, apply_selection=False)
        between = [self._blank] if self._lines else []
        return between + [strip.adjust_cell_length(width, self.rich_style) for strip in strips]

    def on_resize(self) -> None:
        self._draw(0)
        self._say_figures()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self.call_after_refresh(self._draw_in_other_colours)

    def _draw_in_other_colours(self) -> None:
        """Only if they are others: a change of focus has only another border."""
        if not self.is_attached:  # removed since: it has no styles any more
            return
        looks = (self.visual_style, self._style_named("md-h1"), self._style_named("md-block"))
        if looks != self._looks:
            self._looks = looks
            self._draw(0)
