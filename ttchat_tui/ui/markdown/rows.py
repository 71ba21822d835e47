"""Rows: logical lines of a message with their prefixes, which can be wrapped to any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from textual.content import Content

from ttchat_tui.ui.markdown.wrap import wrap_offsets

EMPTY: Final = Content("")
_CONTINUED: Final = "↳"
"""In the margin of a line that goes on from the line above, where rows are broken within words, as code is. One cell in every
terminal."""


class RenderSpan(NamedTuple):
    """A run of text in one visual line."""

    content: Content
    x: int | None = None
    """Offset of its first character in the row's `plain`; None for decoration, which cannot be selected."""
    is_inside: bool = True
    """It has the row's own style; prefixes of quotes and lists do not."""


VisualLine = tuple[RenderSpan, ...]


def same_lines(some: Sequence[VisualLine], others: Sequence[VisualLine]) -> int:
    """How many lines at the beginning look the same in both."""
    for number, (one, other) in enumerate(zip(some, others, strict=False)):
        if one is not other and not (
            len(one) == len(other)
            and all(
                mine.content.is_same(its.content) and mine[1:] == its[1:]
                for mine, its in zip(one, other, strict=True)
            )
        ):
            return number
    return min(len(some), len(others))


class RenderRow(Protocol):
    """One logical line. Immutable except for its cache of lines."""

    @property
    def plain(self) -> str:
        """The text that copying yields."""
        ...

    @property
    def source(self) -> str | None:
        """Its lines in the message; None for an added row, which copying leaves out."""
        ...

    @property
    def tail(self) -> str | None:
        """A source line after them that is not drawn."""
        ...

    @property
    def style(self) -> str:
        """The style under the row's text and padding."""
        ...

    @property
    def cost(self) -> float:
        """Its share of a chunk, which is full at 1."""
        ...

    @property
    def flows_on(self) -> bool:
        """The next row continues the same source line: copying adds no newline between them."""
        ...

    def lines(self, width: int) -> Sequence[VisualLine]: ...

    def looks_like(self, other: RenderRow) -> bool:
        """Whether both look the same at any width."""
        ...


_LEAST_ROOM: Final = 16
"""Columns that prefixes leave for the text, however deeply lists and quotes are nested."""


def fitted(prefix: Content, width: int) -> Content:
    """The end of `prefix` that fits, with the innermost marker."""
    return prefix[max(0, prefix.cell_length - width + min(_LEAST_ROOM, width // 2)) :]


class TextRow:
    """A row of text behind a prefix, which wrapped lines repeat as blanks and quote bars."""

    def __init__(
        self,
        content: Content,
        *,
        lead: Content = EMPTY,
        rest: Content = EMPTY,
        style: str = "",
        pad: int = 0,
        by_word: bool = True,
        cost: float = 0.0,
        flow: TextRow | None = None,
    ) -> None:
        self.content = content
        self.source: str | None = content.plain
        self.tail: str | None = None
        self.lead = lead
        """Before the first visual line: markers of list items that begin here."""
        self.rest = rest
        """Before the other lines; as wide as `lead`."""
        self.style = style
        self.pad = pad
        """Columns between the prefix and the text; for the mark, where the row is broken within words."""
        self.by_word = by_word
        self.cost = cost
        self.flow = flow
        """The row that this one continues in mid-line. This row draws the other's last visual line."""
        self.flows_on = False
        self._hands_on = False
        """The next row draws its last visual line."""
        if flow is not None:
            flow.flows_on = flow._hands_on = True
        self._cache: tuple[int, list[VisualLine], Content, Content] | None = None

    @property
    def plain(self) -> str:
        return self.content.plain

    def lines(self, width: int) -> Sequence[VisualLine]:
        return self._laid_out(width)[1]

    def looks_like(self, other: RenderRow) -> bool:
        return (
            isinstance(other, TextRow)
            and self.content.is_same(other.content)
            and self.lead.is_same(other.lead)
            and self.rest.is_same(other.rest)
            and self.style == other.style
            and (self.pad, self.by_word) == (other.pad, other.by_word)
            and self.flow is other.flow
            and (self.flows_on, self._hands_on) == (other.flows_on, other._hands_on)
        )

    def _laid_out(self, width: int) -> tuple[int, list[VisualLine], Content, Content]:
        """(width, lines, the text of the line that the next row draws, the prefix that it begins with)."""
        if self._cache is None or self._cache[0] != width:
            self._cache = self._lay_out(width)
        return self._cache

    def _lay_out(self, width: int) -> tuple[int, list[VisualLine], Content, Content]:
        carried, lead, rest = EMPTY, fitted(self.lead, width), fitted(self.rest, width)
        is_continued = False
        if self.flow is not None:
            _, before, carried, lead = self.flow._laid_out(width)
            is_continued = bool(before)
        text = carried + self.content if carried else self.content
        room = width - max(lead.cell_length, rest.cell_length) - 2 * self.pad
        offsets = wrap_offsets(text.plain, max(2, room), by_word=self.by_word)
        carry = EMPTY
        if self._hands_on:
            carry = text[offsets.pop() :]
            text = text[: len(text) - len(carry)]
        parts = text.divide(offsets[1:]) if offsets else []
        lines: list[VisualLine] = []
        for part, offset in zip(parts, offsets, strict=True):
            is_last = offset == offsets[-1] and not self._hands_on
            shown = part if is_last or not self.by_word else part.rstrip()
            lines.append(tuple(self._pieces(lead, shown, offset - len(carried), is_continued)))
            lead, is_continued = rest, True
        return width, lines, carry, lead

    def _pieces(self, prefix: Content, part: Content, x: int, is_continued: bool) -> Iterator[RenderSpan]:
        if prefix:
            yield RenderSpan(prefix, None, False)
        if self.pad:
            mark = _CONTINUED if is_continued and not self.by_word else ""
            yield RenderSpan(Content.styled(mark.ljust(self.pad), ".md-faint"))
        if x >= 0:
            yield RenderSpan(part, x)
            return
        yield RenderSpan(part[:-x])
        if len(part) > -x:
            yield RenderSpan(part[-x:], 0)


class RuleRow:
    """A thematic break: a line across the row."""

    plain = ""
    style = ""
    flows_on = False

    def __init__(self, *, lead: Content = EMPTY, cost: float = 0.0, source: str = "") -> None:
        self.source = source
        self.tail = None
        self.lead = lead
        self.cost = cost

    def lines(self, width: int) -> Sequence[VisualLine]:
        lead = fitted(self.lead, width)
        rule = Content.styled("─" * max(2, width - lead.cell_length), ".md-faint")
        return [(RenderSpan(lead, None, False), RenderSpan(rule))]

    def looks_like(self, other: RenderRow) -> bool:
        return isinstance(other, RuleRow) and self.lead.is_same(other.lead)
