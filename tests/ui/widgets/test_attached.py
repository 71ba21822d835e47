"""Attached files in a message: a line each, their text when unfolded, and the whole block when copied."""

from __future__ import annotations

import pytest
from textual.selection import SELECT_ALL

from ttchat_tui.domain.attachments import block_of, with_blocks
from ttchat_tui.ui.markdown.visual import RowsVisual
from ttchat_tui.ui.widgets.transcript.attached import message_chunks

BLOCKS = [block_of("a\x1b[1m.py", "x = 1\n\nprint(x)\n", language="python"), block_of("empty", "")]
SENT = with_blocks("Explain [bold]this[/]\nplease", BLOCKS)


@pytest.mark.parametrize(
    ("opened", "drawn"),
    [
        (set[int](), ["▸ a␛[1m.py · 3 lines · 16 bytes", "▸ empty · 0 lines · 0 bytes"]),
        (
            {0, 1},
            ["▾ a␛[1m.py · 3 lines · 16 bytes", "x = 1", "", "print(x)", "▾ empty · 0 lines · 0 bytes", ""],
        ),
    ],
)
def test_what_is_drawn_is_folded_and_what_is_copied_is_the_message(
    opened: set[int], drawn: list[str]
) -> None:
    chunks = message_chunks(SENT, opened)
    plain = [row.plain for chunk in chunks for row in chunk.rows]
    assert plain == ["Explain [bold]this[/]", "please", *drawn]
    copied = "\n".join(RowsVisual(tuple(chunk.rows)).selected_text(SELECT_ALL) for chunk in chunks)
    assert copied.replace("\n", "") == SENT.replace("\n", "")
