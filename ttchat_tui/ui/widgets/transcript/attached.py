"""A user's message in parts: a line for each file, which a click unfolds, and of a long text what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
from textual.content import Content

from ttchat_tui.domain.attachments import Block, find_blocks
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.rows import TextRow
from ttchat_tui.ui.widgets.cells import size_words
from ttchat_tui.ui.widgets.transcript.message_data import SHOWN_AT_ONCE

MOST_BYTES: Final = 1 << 20
"""Of all files of a message."""


class AttachmentRow(TextRow):
    """`▸ src/a.py · 120 lines · 3.2 kB`. While it is folded, copying it yields the whole block."""

    def __init__(self, block: Block, index: int, source: str, *, is_open: bool) -> None:
        lines, size = block.content.count("\n"), len(block.content.encode("utf-8", "replace"))
        figures = f" · {lines:,} line{'s' * (lines != 1)} · {size_words(size)}"
        name = visible_line(block.name)
        label = Content.assemble(("▾ " if is_open else "▸ ", ".md-marker"), name, (figures, ".md-faint"))
        super().__init__(label)
        self.source = source
        self.index = index
        """The place of the block in its message."""


class MoreRow(TextRow):
    """`▸ 25,410 more lines · 812.3 kB · …`, below the part of a long text that is shown; above it, `▴ 300 lines before`. A click,
    or enter on the selected message, shows some of them. Copying it yields all of them."""

    def __init__(self, hidden: str, part: int, source: str, *, is_above: bool = False) -> None:
        lines = hidden.count("\n") + (not hidden.endswith("\n"))
        size = size_words(len(hidden.encode("utf-8", "replace")))
        what = f"line{'s' * (lines != 1)}"
        words = f"{lines:,} {what} before" if is_above else f"{lines:,} more {what}"
        figures = f"{words} · {size} · click or enter"
        super().__init__(Content.assemble(("▴ " if is_above else "▸ ", ".md-marker"), (figures, ".md-faint")))
        self.source = source
        self.index = part
        """The part of the message; see `parts_of`."""
        self.is_above = is_above

    @property
    def plain(self) -> str:
        """Empty: its words are not the user's, and are not found."""
        return ""


Shown: TypeAlias = tuple[int, int]
"""From which character on, and up to which, a part of a message is shown: whole slices of it."""


class TextPart(msgspec.Struct, frozen=True):
    """A file of a message, or what is written before, between and after its files."""

    index: int
    """Files: their place among the files. The others: -1, -2, ..."""
    text: str
    block: Block | None


def parts_of(text: str) -> list[TextPart]:
    """The parts of a user's message, in order."""
    parts: list[TextPart] = []
    at = 0
    blocks = find_blocks(text)
    for index, block in enumerate(blocks):
        parts += [
            TextPart(-1 - index, text[at : block.start].strip("\n"), None),
            TextPart(index, block.content, block),
        ]
        at = block.end
    parts.append(TextPart(-1 - len(blocks), text[at:].strip("\n") if blocks else text, None))
    return [part for part in parts if part.text or part.block]


def more_of(content: str, shown: int) -> int:
    """How many characters of a text are shown after `shown` ones and a click: some hundred whole lines more."""
    end = shown + SHOWN_AT_ONCE
    if end >= len(content):
        return len(content)
    line = content.rfind("\n", shown, end)
    return end if line < 0 else line + 1


@lru_cache(maxsize=16)
def slices_of(content: str) -> list[Shown]:
    """The slices that a text is shown in, one by one."""
    slices: list[Shown] = []
    while not slices or slices[-1][1] < len(content):
        at = slices[-1][1] if slices else 0
        slices.append((at, more_of(content, at)))
    return slices


def shown_of(part: TextPart, opened: Mapping[int, Shown]) -> Shown | None:
    """What is shown of a part: nothing of a file that is not in `opened`, the beginning of other parts."""
    beginning = None if part.block is not None else slices_of(part.text)[0]
    return opened.get(part.index, beginning)


def with_more(content: str, shown: Shown, *, is_above: bool) -> Shown:
    """What is shown after a click on the row below or above `shown`."""
    start, end = shown
    if not is_above:
        return start, more_of(content, end)
    return max((at for at, _ in slices_of(content) if at < start), default=0), end


def unfolded(text: str) -> dict[int, Shown]:
    """What is shown of a message's files when they are unfolded together: the beginnings of the first ones."""
    opened: dict[int, Shown] = {}
    room = SHOWN_AT_ONCE
    for index, block in enumerate(find_blocks(text)):
        if room > 0:
            opened[index] = slices_of(block.content)[0]
            room -= len(block.content)
    return opened


def message_chunks(text: str, opened: Mapping[int, Shown]) -> list[RenderChunk]:
    """A user's message, with its files folded but for the `opened` ones, and of a long text what is shown of it."""
    chunks: list[RenderChunk] = []
    for part in parts_of(text):
        shown, block = shown_of(part, opened), part.block
        if block is None:
            assert shown is not None
            chunks += _content(part, shown)
            continue
        source = text[block.start : block.end]
        if shown is None:
            chunks.append(RenderChunk([AttachmentRow(block, part.index, source, is_open=False)]))
        else:
            label, fence, _ = source.split("\n", 2)
            chunks.append(RenderChunk([AttachmentRow(block, part.index, f"{label}\n{fence}", is_open=True)]))
            chunks += _content(part, shown, source.rpartition("\n")[2])
    return chunks


def _content(part: TextPart, shown: Shown, closing: str | None = None) -> list[RenderChunk]:
    """The shown slices of a part. `closing`: the fence at its end."""
    content, chunks = part.text, list[RenderChunk]()
    style = ".md-faint" if part.block is not None else ""
    first, last = shown[0], max(shown[1], shown[0] + 1)
    slices = [(at, end) for at, end in slices_of(content) if at < last and (end > first or not content)]
    start, end = slices[0][0], slices[-1][1]
    if start:
        above = content[:start]
        chunks.append(RenderChunk([MoreRow(above, part.index, above.removesuffix("\n"), is_above=True)]))
        chunks[-1].rows[-1].flows_on = not above.endswith("\n")  # type: ignore[misc]
    for at, stop in slices:
        chunks += _slice(
            content[at:stop], closing if stop == len(content) else None, style, stop == len(content)
        )
    if end < len(content):
        rest = content[end:]
        chunks.append(RenderChunk([MoreRow(rest, part.index, rest + (closing or ""))]))
    return chunks


@lru_cache(maxsize=2 * MOST_BYTES // SHOWN_AT_ONCE)  # what is shown already is not made again for each click
def _slice(text: str, closing: str | None, style: str, is_end: bool) -> list[RenderChunk]:
    """A part of a text; the last one of a file has the fence."""
    chunks = plain_chunks(text if is_end else text.removesuffix("\n"), style, is_end=is_end)
    last = chunks[-1].rows[-1]
    if isinstance(last, TextRow):
        last.tail = closing  # copied, not drawn
        last.flows_on = not is_end and not text.endswith("\n")
    return chunks
