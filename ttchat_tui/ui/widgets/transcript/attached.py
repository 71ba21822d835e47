"""The files of a user's message: a line for each, which a click unfolds."""

from __future__ import annotations

from collections.abc import Collection

from textual.content import Content

from ttchat_tui.domain.attachments import Block, find_blocks
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.rows import TextRow
from ttchat_tui.ui.widgets.cells import size_words


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


def message_chunks(text: str, opened: Collection[int]) -> list[RenderChunk]:
    """A user's message, with its files folded but for those `opened`."""
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
            content = plain_chunks(block.content, ".md-faint")
            last = content[-1].rows[-1]
            if isinstance(last, TextRow):
                last.tail = source.rpartition("\n")[2]  # copied, not drawn
            chunks += content
        else:
            chunks.append(RenderChunk([AttachmentRow(block, index, source, is_open=False)]))
        at = block.end
    return chunks + _prose(text[at:])


def _prose(text: str) -> list[RenderChunk]:
    return plain_chunks(text.strip("\n")) if text.strip("\n") else []
