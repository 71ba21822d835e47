"""A message on screen: header, text in chunks, and a dim line of figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from ttchat_tui.domain.matching import Matcher
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.rows import RenderRow, TextRow
from ttchat_tui.ui.textual_patches.no_second_layout import NoSecondLayout
from ttchat_tui.ui.textual_patches.stream_layout import MeasuringStream
from ttchat_tui.ui.textual_patches.style_cache import ClearsStyleCache
from ttchat_tui.ui.widgets.cells import cut_to_cells
from ttchat_tui.ui.widgets.transcript.attached import (
    AttachmentRow,
    MoreRow,
    Shown,
    message_chunks,
    parts_of,
    shown_of,
    unfolded,
    with_more,
)
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.folding import Folding
from ttchat_tui.ui.widgets.transcript.header_and_figures import FiguresRow, HeaderRow
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.part_hits import PartHits
from ttchat_tui.ui.widgets.transcript.reply_document import ReplyDocument

_WIDEST_BRANCH: Final = 24
BESIDE_ARROWS: Final = 2
"""Cells on both sides of `‹ 2/3 ›` that belong to its arrows: one cell is hard to hit."""
_EMPTY_ROW: Final = TextRow(Content(""))


class MessageWidget(NoSecondLayout, ClearsStyleCache, MeasuringStream, Widget, can_focus=False):
    """Shows `view`. A reply can be fed and finished; other messages are drawn once."""

    DEFAULT_CSS = "MessageWidget { layout: stream; height: auto; }"

    @dataclass
    class VersionRequested(Message):
        """The left (-1) or right (1) half of `‹ 2/3 ›` in the header was clicked."""

        key: int
        step: int

    def __init__(self, view: MessageView, folding: Folding) -> None:
        super().__init__(classes=f"-{view.role}")
        self.view = view
        self._folding = folding
        self._found: frozenset[int] = frozenset()
        """The thoughts that are open because words are found in them."""
        self._reply: ReplyDocument | None = None
        self._matcher: Matcher | None = None
        self._opened: dict[int, Shown] = {}
        """What is shown of the unfolded files and of long texts, by part."""
        self._hits: PartHits | None = None
        """Those of a user's message."""
        self._current: int | None = None
        self._mark = ""
        self._header = MessageChunk([_header(view)], classes="message--header")
        self._chunks = [_drawn(chunk) for chunk in self._whole()]
        self._footer = MessageChunk(_footer(view), classes="message--footer")
        self._footer.display = bool(self._footer.rows)

    @property
    def chunks(self) -> Sequence[MessageChunk]:
        """The text's chunks in order, also those that are still mounting."""
        return self._chunks

    def compose(self) -> ComposeResult:
        yield self._header
        yield from self._chunks
        yield self._footer

    def on_click(self, event: events.Click) -> None:
        """A click on the versions requests another one, on a file unfolds or folds it, instead of selecting the message."""
        if isinstance(event.widget, MessageChunk) and event.button == 1:
            rows = event.widget.rows
            if len(rows) == 1 and isinstance(rows[0], AttachmentRow | MoreRow):
                event.stop()
                self._click_part(rows[0])
                return
        header, width = self._header.content_region, len(_versions(self.view))
        if event.button != 1 or event.screen_y != header.y:
            return
        column = event.screen_x - header.right + cell_len(_from_versions_on(self.view, self._mark))
        if width and -BESIDE_ARROWS <= column < width + BESIDE_ARROWS:
            event.stop()
            self.post_message(self.VersionRequested(self.view.key, -1 if column < width // 2 else 1))

    def show(self, view: MessageView) -> None:
        """Show another title, time, status, figures and note. The text stays."""
        self.view = view
        self._header.show([_header(view, self._mark)])
        rows = _footer(view)
        self._footer.display = bool(rows)
        self._footer.show(rows)

    def show_mark(self, mark: str) -> None:
        """What the message is to the next prompt: `kept`, or why it is not sent, which dims it."""
        if mark != self._mark:
            self._mark = mark
            self._header.show([_header(self.view, mark)])
            self.set_class(bool(mark) and mark != "kept", "-unsent")

    def feed(self, text: str) -> None:
        """Append `text` to a streaming reply."""
        if self._reply is None or self.view.status != "streaming":
            self._reply = self._reply_of(self.view.text, is_streaming=True)
        self._reply.feed(text)
        self._reply.figures = self.view.thoughts
        first, header = self._reply.update(), self._reply.header_row
        self._sync(self._reply.chunks, first)
        if header is not None and header < first:
            self._chunks[header].show(self._reply.chunks[header].rows)

    def finish(self, view: MessageView, source: str) -> None:
        """The reply is complete. `source` is the text fed so far; if `view.text` differs, that is drawn instead."""
        self.view = view
        if self._reply is not None and source == view.text:
            self._reply.figures = view.thoughts
            first = self._reply.finish()
            self._sync(self._reply.chunks, first)
        else:
            self._sync(self._whole(), 0)
        self.show(view)

    def refold(self) -> None:
        """Draw the text again: other thoughts are open."""
        if self._reply is None:
            return
        is_streaming = self.view.status == "streaming"
        self._reply = self._reply_of(self._reply.source, is_streaming=is_streaming)
        self._sync(self._reply.chunks, 0)

    def thought_at(self, chunk: int) -> int | None:
        """The number of the thought that a chunk of `row_at` belongs to; None in answers."""
        return self._reply.thought_at(chunk) if self._reply is not None else None

    def chunk_of(self, thought: int) -> int | None:
        """The chunk with the header of a thought."""
        return self._reply.chunk_of(thought) if self._reply is not None else None

    def mark(self, matcher: Matcher | None, current: int | None) -> None:
        """Mark what `matcher` finds, and hit number `current` of it in another way. Thoughts and attached files with hits
        open; when nothing is marked any more, those thoughts fold again that do not have the current hit."""
        if matcher is not self._matcher:
            self._open_found(matcher)
        self._matcher, before = matcher, 0
        self._current = drawn = current
        if self._hits is not None and current is not None:
            self._unfold(self._hits.with_hit(current, self._opened))
            drawn = self._hits.drawn(current, self._opened)
        for chunk in self._chunks:
            chunk.mark(matcher, None if drawn is None else drawn - before)
            before += len(chunk.hits)

    def _open_found(self, matcher: Matcher | None) -> None:
        if self._reply is None:
            is_mine = self.view.role == "user"
            self._hits = PartHits(self.view.text, matcher) if matcher is not None and is_mine else None
            if self._hits is not None:
                self._unfold(self._hits.with_firsts(self._opened))
            return
        if matcher is None and self._current is not None and (place := self.place_of_hit(self._current)):
            read = self.thought_at(place[0])
            if read is not None:
                self._folding.choose(self.view.key, read, True)
        found = frozenset(
            number
            for number, thought in enumerate(self._reply.thoughts if matcher is not None else ())
            if matcher is not None and matcher.is_in(thought.text)
        )
        if found != self._found:
            self._found = found
            self.refold()

    def toggle_files(self) -> None:
        """Unfold attached files, or fold them if one is unfolded."""
        self._unfold({} if self._opened else unfolded(self.view.text))

    def _click_part(self, row: AttachmentRow | MoreRow) -> None:
        part = next(part for part in parts_of(self.view.text) if part.index == row.index)
        opened, shown = dict(self._opened), shown_of(part, self._opened)
        if isinstance(row, AttachmentRow) and shown is not None:
            del opened[part.index]
        elif isinstance(row, MoreRow) and shown is not None:
            opened[part.index] = with_more(part.text, shown, is_above=row.is_above)
        else:
            opened[part.index] = with_more(part.text, (0, 0), is_above=False)
        self._unfold(opened)

    def show_more(self) -> bool:
        """Show more of the first long text that is not shown to its end. Returns False if there is none."""
        rows = [row for chunk in self._chunks for row in chunk.rows if isinstance(row, MoreRow)]
        if not rows:
            return False
        self._click_part(next((row for row in rows if not row.is_above), rows[0]))
        return True

    def _unfold(self, opened: dict[int, Shown]) -> None:
        """Show these parts of attached files and long texts, nothing of other files, and the beginnings of other texts."""
        if opened != self._opened:
            self._opened = opened
            self._sync(self._whole(), 0)

    @property
    def hit_count(self) -> int:
        return self._hits.count if self._hits is not None else sum(len(chunk.hits) for chunk in self._chunks)

    def place_of_hit(self, number: int) -> tuple[int, int] | None:
        """The position of a marked hit, as in `row_at`; None if there are fewer."""
        number = self._hits.drawn(number, self._opened) if self._hits is not None else number
        for index, chunk in enumerate(self._chunks):
            if number < len(chunk.hits):
                return index, chunk.line_of(chunk.hits[number], self._text_width)
            number -= len(chunk.hits)
        return None

    @property
    def is_laid_out(self) -> bool:
        """Its lines are where `row_at` finds them: the screen has placed it with all its text."""
        return bool(self.virtual_region.height) and all(
            chunk.size.width for chunk in (self._header, *self._chunks)
        )

    def row_at(self, y: int) -> tuple[int, int]:
        """The position of line `y` of the message: (index of the chunk, line in it). The header has index -1."""
        top = 1
        for index, chunk in enumerate(self._chunks):
            height = chunk.height_of(self._text_width)
            if y < top + height:
                return (index, y - top) if y >= top else (-1, y)
            top += height
        return len(self._chunks), y - top

    def y_of(self, index: int, line: int) -> int:
        """The inverse of `row_at`."""
        if index < 0:
            return line
        return 1 + line + sum(chunk.height_of(self._text_width) for chunk in self._chunks[:index])

    def last_line(self) -> tuple[int, int]:
        """The position of the last line of text, as in `row_at`; the header's if there is none."""
        if not self._chunks:
            return -1, 0
        return len(self._chunks) - 1, max(0, self._chunks[-1].height_of(self._text_width) - 1)

    @property
    def _text_width(self) -> int:
        return max(1, self._header.size.width)

    def _whole(self) -> list[RenderChunk]:
        view = self.view
        if view.role != "assistant":
            if not view.text:
                return []
            if view.role == "user":
                return message_chunks(view.text, self._opened)
            return plain_chunks(view.text, ".md-faint")
        self._reply = self._reply_of(view.text, is_streaming=view.status == "streaming")
        return self._reply.chunks

    def _reply_of(self, text: str, *, is_streaming: bool) -> ReplyDocument:
        """`text` with the thoughts open that are to be."""
        reply = ReplyDocument(
            self.view.key,
            self._folding,
            found=self._found,
            is_streaming=is_streaming,
            literal=self.view.literal,
        )
        reply.figures = self.view.thoughts
        reply.feed(text)
        if is_streaming:
            reply.update()
        else:
            reply.finish()
        return reply

    def _sync(self, chunks: list[RenderChunk], first: int) -> None:
        """Update the widgets from index `first` on to show `chunks`."""
        count, first = len(chunks), min(first, len(self._chunks))
        for widget, chunk in zip(self._chunks[first:count], chunks[first:count], strict=False):
            widget.set_class(chunk.is_thought, "-thought")
            widget.show(chunk.rows)
        surplus = [widget for widget in self._chunks[count:] if widget.is_attached]
        del self._chunks[count:]
        if surplus:
            self.remove_children(surplus)
        fresh = [_drawn(chunk) for chunk in chunks[len(self._chunks) :]]
        if fresh:
            for widget in fresh:
                widget.mark(self._matcher, None)
            self._chunks += fresh
            if self._footer.is_attached:
                self.mount(*fresh, before=self._footer)


def _drawn(chunk: RenderChunk) -> MessageChunk:
    return MessageChunk(chunk.rows, classes="-thought" if chunk.is_thought else None)


def _header(view: MessageView, mark: str = "") -> HeaderRow:
    return HeaderRow(
        Content.styled(visible(view.title), f".role-{view.role}"),
        Content.styled(_right(view, mark), ".md-faint"),
    )


def _versions(view: MessageView) -> str:
    index, count = view.siblings
    return f"‹ {index + 1}/{count} ›" if count > 1 else ""


def _right(view: MessageView, mark: str) -> str:
    branch = cut_to_cells(visible(view.branch), _WIDEST_BRANCH)
    return "   ".join(filter(None, (branch, _from_versions_on(view, mark))))


def _from_versions_on(view: MessageView, mark: str) -> str:
    return "   ".join(filter(None, (_versions(view), mark, view.time)))


def _footer(view: MessageView) -> list[RenderRow]:
    rows: list[RenderRow] = []
    if view.note:
        style = ".note-error" if view.status == "error" else ".note"
        rows += [TextRow(Content.styled(line, style)) for line in visible(view.note).split("\n")]
    if view.figures:
        rows.append(FiguresRow(view.figures, view.spare_figures))
    return [_EMPTY_ROW, *rows] if rows and view.text else rows
