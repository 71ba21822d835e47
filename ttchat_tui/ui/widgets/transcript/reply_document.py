"""A reply's text in chunks of rows: its answers as Markdown, its thoughts folded or open."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from textual.content import Content

from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.literal_text import begins_as_json, is_json
from ttchat_tui.domain.thought_stream import ThoughtStream
from ttchat_tui.domain.thoughts import Part
from ttchat_tui.ui.markdown.document import Document, RenderChunk
from ttchat_tui.ui.markdown.fenced_code import FENCES_OF_A_THOUGHT
from ttchat_tui.ui.markdown.rows import TextRow
from ttchat_tui.ui.widgets.transcript.folding import Folding
from ttchat_tui.ui.widgets.transcript.thought_rows import LastLine, ThoughtHeader, thought_words


class ReplyDocument:
    """Fed and updated like a `Document`, which each part of the text is drawn by."""

    def __init__(
        self,
        key: int,
        folding: Folding,
        *,
        found: Collection[int] = (),
        is_streaming: bool = False,
        literal: str | None = None,
    ) -> None:
        """`found`: the thoughts that are open because words are found in them. `literal`: the language of an answer that is no
        Markdown (`domain.literal_text.language_of`)."""
        self.figures: Sequence[ThoughtFigures] = ()
        """Of the thoughts, in order."""
        self.chunks: list[RenderChunk] = []
        self._key = key
        self._folding = folding
        self._found = found
        self._is_streaming = is_streaming
        self._literal = literal
        self._stream = ThoughtStream()
        self._sections: list[_Section] = []
        self._dirty = 0
        """The first section that is not drawn as it is."""

    @property
    def source(self) -> str:
        """The text fed so far."""
        return self._stream.text

    @property
    def thoughts(self) -> list[Part]:
        return self._stream.thoughts

    @property
    def header_row(self) -> int | None:
        """The chunk with the running figures, if the reply ends with a thought."""
        last = self._sections[-1] if self._sections else None
        if last is None or not last.is_thought or not last.chunks:
            return None
        return len(self.chunks) - len(last.chunks)

    def feed(self, text: str) -> None:
        """Add source text."""
        self._stream.feed(text)
        self._sync()

    def update(self) -> int:
        """Bring `chunks` up to date. Returns the index of the first changed chunk, `header_row` aside."""
        first = min(self._dirty, max(0, len(self._sections) - 1))
        before = sum(len(section.chunks) for section in self._sections[:first])
        changed: int | None = None
        at = before
        for section in self._sections[first:]:
            local = section.update(self._figures_of(section), self._is_streaming)
            changed = at + local if changed is None else changed
            at += len(section.chunks)
        self.chunks[before:] = [chunk for each in self._sections[first:] for chunk in each.chunks]
        is_rebuilt = self._dirty < len(self._sections)
        self._dirty = len(self._sections)
        return before if is_rebuilt or changed is None else changed

    def finish(self) -> int:
        """The text is complete: draw its final form. Returns the index of the first changed chunk."""
        self._is_streaming = False
        self._stream.finish()
        self._sync()
        if self._sections:
            self._sections[-1].close()
            self._dirty = 0  # the figures may be others
        return self.update()

    def thought_at(self, chunk: int) -> int | None:
        """The number of the thought that a chunk belongs to."""
        for section in self._sections:
            chunk -= len(section.chunks)
            if chunk < 0:
                return section.thought
        return None

    def chunk_of(self, thought: int) -> int | None:
        """The chunk with the header of a thought; None if it has none."""
        at = 0
        for section in self._sections:
            if section.thought == thought:
                return at if section.chunks else None
            at += len(section.chunks)
        return None

    def _figures_of(self, section: _Section) -> ThoughtFigures | None:
        number = section.thought
        return self.figures[number] if number is not None and number < len(self.figures) else None

    def _sync(self) -> None:
        """Bring the sections in line with the parts of the text."""
        parts = self._stream.parts
        kept = max(0, len(self._sections) - 1)  # a split anew may change earlier ones too
        if (
            len(parts) != len(self._sections)
            or any(
                not section.is_of(part)
                for section, part in zip(self._sections[:kept], parts[:kept], strict=True)
            )
            or (parts and not self._sections[-1].feed(parts[-1]))
        ):
            self._split_anew(parts)

    def _split_anew(self, parts: Sequence[Part]) -> None:
        same = 0
        for section, part in zip(self._sections, parts, strict=False):
            if not section.feed(part):
                break
            same += 1
        del self._sections[same:]
        self._dirty = min(self._dirty, max(0, same - 1))
        for part in parts[same:]:
            if self._sections:
                self._sections[-1].close()
                self._sections[-1].is_followed = True
            self._sections.append(self._new_section(part))
        if self._sections and same == len(parts):
            self._sections[-1].is_followed = False

    def _new_section(self, part: Part) -> _Section:
        before = [section for section in self._sections if section.is_thought == part.is_thought]
        if part.is_thought:
            number = len(before)
            is_open = number in self._found or self._folding.is_open(self._key, number)
            is_hidden = not is_open and self._folding.is_hidden(self._key, number)
            first = FENCES_OF_A_THOUGHT * (number + 1)
            section = _Section(number, is_open=is_open, is_hidden=is_hidden, first_fence=first)
        else:
            first = before[-1].next_fence if before else 0
            section = _Section(None, is_open=True, first_fence=first, literal=self._literal)
        section.is_first = not self._sections
        section.feed(part)
        return section


class _Section:
    """One part of the text."""

    def __init__(
        self,
        thought: int | None,
        *,
        is_open: bool,
        first_fence: int,
        is_hidden: bool = False,
        literal: str | None = None,
    ) -> None:
        self.thought = thought
        """Its number among the thoughts; None: a part of the answer."""
        self.chunks: list[RenderChunk] = []
        self.is_first = True
        self.is_followed = False
        self._is_open = is_open
        self._is_hidden = is_hidden
        self._text = ""
        self.is_complete = False
        """It has its closing tag."""
        self._is_closed = False
        self._first_fence = first_fence
        self._is_literal = literal is not None
        """Its form is given."""
        self._is_json = False
        """It is an answer in JSON, as far as it is known."""
        self._document = Document(first_fence, literal=literal) if is_open else None

    @property
    def is_thought(self) -> bool:
        return self.thought is not None

    @property
    def next_fence(self) -> int:
        return self._document.next_fence if self._document is not None else 0

    def is_of(self, part: Part) -> bool:
        return self.is_thought == part.is_thought and len(self._text) == len(part.text)

    def feed(self, part: Part) -> bool:
        """Grow to `part`. Returns False if this section is not the beginning of it."""
        is_same = self.is_thought == part.is_thought and part.text.startswith(self._text)
        if not is_same or (self._is_closed and len(part.text) > len(self._text)):
            return False
        if self._document is not None:
            self._document.feed(part.text[len(self._text) :])
        self._text = part.text
        if not self._is_closed:
            self._read_as_json(begins_as_json(self._text))
        self.is_complete = part.is_thought and not part.is_open
        return True

    def _read_as_json(self, is_json: bool) -> None:
        """Draw the answer as JSON, or as Markdown again."""
        if self.is_thought or self._is_literal or is_json == self._is_json:
            return
        self._is_json = is_json
        self._document = Document(self._first_fence, literal="json" if is_json else None)
        self._document.feed(self._text)

    def close(self) -> None:
        """No more text comes."""
        if not self._is_closed and self._document is not None:
            self._read_as_json(is_json(self._text))
            self._document.finish()
        self._is_closed = True

    def update(self, figures: ThoughtFigures | None, is_streaming: bool) -> int:
        """Bring the chunks up to date. Returns the index of the first changed one, the header aside."""
        first = 0
        if self._document is not None and not self._is_closed:
            first = self._document.update()
        drawn = [chunk for chunk in self._document.chunks if chunk.rows] if self._document else []
        if not self.is_thought:
            self.chunks = drawn
            return first
        for chunk in drawn:
            chunk.is_thought = True
        is_running = is_streaming and not self.is_complete
        if self._is_hidden and not is_running:
            self.chunks = [RenderChunk([_gap()])] if self.is_followed and not self.is_first else []
            return 0
        words = thought_words(
            figures, is_running=is_running, is_cut_off=not self.is_complete and not is_running
        )
        header = RenderChunk([ThoughtHeader(self.thought or 0, words, is_open=self._is_open)])
        if not self.is_first:
            header.rows.insert(0, _gap())
        if is_running and not self._is_open:
            header.rows.append(LastLine(self._text))
        self.chunks = [header, *drawn]
        if self.is_followed and drawn:
            self.chunks.append(RenderChunk([_gap()]))
        elif self.is_followed:
            header.rows.append(_gap())
        return 1 + first


def _gap() -> TextRow:
    row = TextRow(Content(""))
    row.source = None
    return row
