"""The files of a user's message: a line for each, which a click unfolds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from textual.content import Content

from ttchat_tui.domain.attachments import Block, find_blocks
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.rows import TextRow
from ttchat_tui.ui.widgets.cells import size_words

STEP: Final = 16_000
"""Characters of a file that a click shows, which is laid out in 15 ms. A whole megabyte takes 400."""
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
    """`▸ 25,410 more lines · 812.3 kB`, below the part of a file that is shown. Copying it yields the rest of the block."""

    def __init__(self, rest: str, index: int, source: str) -> None:
        lines = rest.count("\n") + (not rest.endswith("\n"))
        size = size_words(len(rest.encode("utf-8", "replace")))
        figures = f"{lines:,} more line{'s' * (lines != 1)} · {size}"
        super().__init__(Content.assemble(("▸ ", ".md-marker"), (figures, ".md-faint")))
        self.source = source
        self.index = index
        """The place of the block in its message."""


def more_of(content: str, shown: int) -> int:
    """How many characters of a file are shown after `shown` ones and a click: some hundred whole lines more."""
    end = shown + STEP
    if end >= len(content):
        return len(content)
    line = content.rfind("\n", shown, end)
    return end if line < 0 else line + 1


def unfolded(text: str) -> dict[int, int]:
    """What is shown of a message's files when they are unfolded together: the beginnings of the first ones."""
    opened: dict[int, int] = {}
    room = STEP
    for index, block in enumerate(find_blocks(text)):
        if room > 0:
            opened[index] = more_of(block.content, 0)
            room -= len(block.content)
    return opened


def message_chunks(text: str, opened: Mapping[int, int]) -> list[RenderChunk]:
    """A user's message, with its files folded. `opened`: the places of those that are not, and how many characters of their
    content are shown."""
    blocks = find_blocks(text)
    if not blocks:
        return plain_chunks(text)
    chunks: list[RenderChunk] = []
    at = 0
    for index, block in enumerate(blocks):
        chunks += _prose(text[at : block.start])
        source = text[block.start : block.end]
        if index in opened:
            label, fence, _ = source.split("\n", 2)
            chunks.append(RenderChunk([AttachmentRow(block, index, f"{label}\n{fence}", is_open=True)]))
            chunks += _content(block.content, index, opened[index], source.rpartition("\n")[2])
        else:
            chunks.append(RenderChunk([AttachmentRow(block, index, source, is_open=False)]))
        at = block.end
    return chunks + _prose(text[at:])


def _content(content: str, index: int, shown: int, closing: str) -> list[RenderChunk]:
    """The first `shown` characters of a file. `closing`: the fence at its end."""
    chunks: list[RenderChunk] = []
    at = 0
    while True:
        end = more_of(content, at)
        is_end = end == len(content)
        chunks += _slice(content[at:end], closing if is_end else None)
        if is_end:
            return chunks
        if end >= shown:
            rest = content[end:]
            chunks.append(RenderChunk([MoreRow(rest, index, rest + closing)]))
            return chunks
        at = end


@lru_cache(maxsize=2 * MOST_BYTES // STEP)  # what is shown already is not made again for each click
def _slice(text: str, closing: str | None) -> list[RenderChunk]:
    """A part of a file; the last one has the fence."""
    chunks = plain_chunks(
        text if closing is not None else text.removesuffix("\n"), ".md-faint", is_end=closing is not None
    )
    last = chunks[-1].rows[-1]
    if isinstance(last, TextRow):
        last.tail = closing  # copied, not drawn
        last.flows_on = closing is None and not text.endswith("\n")
    return chunks


def _prose(text: str) -> list[RenderChunk]:
    return plain_chunks(text.strip("\n")) if text.strip("\n") else []
