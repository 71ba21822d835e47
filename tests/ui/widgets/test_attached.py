"""Attached files in a message: a line each, their text when unfolded, and the whole block when copied."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.selection import SELECT_ALL

from tests.size import sized
from tests.ui.chat_app import until
from tests.ui.widgets.test_transcript import TranscriptApp, user
from ttchat_tui.domain.attachments import block_of, find_blocks, with_blocks
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.widgets.transcript import attached
from ttchat_tui.ui.widgets.transcript.attached import message_chunks
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message import MessageWidget

BLOCKS = [block_of("a\x1b[1m.py", "x = 1\n\nprint(x)\n", language="python"), block_of("empty", "")]
SENT = with_blocks("Explain [bold]this[/]\nplease", BLOCKS)


@pytest.mark.parametrize(
    ("opened", "drawn"),
    [
        (dict[int, int](), ["▸ a␛[1m.py · 3 lines · 16 bytes", "▸ empty · 0 lines · 0 bytes"]),
        (
            {0: 99, 1: 0},
            ["▾ a␛[1m.py · 3 lines · 16 bytes", "x = 1", "", "print(x)", "▾ empty · 0 lines · 0 bytes", ""],
        ),
    ],
)
def test_what_is_drawn_is_folded_and_what_is_copied_is_the_message(
    opened: dict[int, int], drawn: list[str]
) -> None:
    chunks = message_chunks(SENT, opened)
    plain = [row.plain for chunk in chunks for row in chunk.rows]
    assert plain == ["Explain [bold]this[/]", "please", *drawn]
    assert copied(chunks).replace("\n", "") == SENT.replace("\n", "")


def copied(chunks: Sequence[RenderChunk]) -> str:
    """All of it, as the screen joins what is selected in its chunks."""
    found = [MessageChunk(chunk.rows).get_selection(SELECT_ALL) or ("", "") for chunk in chunks]
    return "".join(text + end for text, end in found)


@settings(max_examples=sized(25, 1000), deadline=None)
@given(st.lists(st.sampled_from(["", "a", "x" * 9, "␛", "word " * 5, "é" * 30]), max_size=40), st.booleans())
def test_a_long_file_is_shown_in_steps_of_which_each_is_copied_whole(lines: list[str], ends: bool) -> None:
    content = "\n".join(lines) + "\n" * ends
    block = block_of("long", content)
    content, sent = find_blocks(block)[0].content, with_blocks("See", [block])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attached, "STEP", 20)
        shown, drawn_before = 0, 0
        while True:
            shown = attached.more_of(content, shown)
            chunks = message_chunks(sent, {0: shown})
            assert content.rstrip("\n") in copied(chunks)
            assert copied(chunks).endswith("```\n")
            drawn = [row.plain for chunk in chunks[2:] for row in chunk.rows]
            if shown == len(content):
                break
            assert shown - drawn_before <= 20
            assert drawn.pop().startswith("▸ ")
            assert "".join(drawn) == content[:shown].replace("\n", "")
            drawn_before = shown
        assert "".join(drawn) == content.replace("\n", "")


async def test_a_click_shows_more_of_a_long_file() -> None:
    app = TranscriptApp()
    content = "".join(f"line {number} is one of many\n" for number in range(1500))
    sent = with_blocks("See", [block_of("long", content), block_of("other", "short\n")])

    def last_lines() -> list[str]:
        return [line for line in app.lines() if line.startswith(("▸", "▾", "line"))][-3:]

    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1, sent)])
        await until(pilot, lambda: "▸ other · 1 line · 6 bytes" in app.lines())
        widget = app.query_one(MessageWidget)
        app.transcript.toggle_files(1)
        app.transcript.follow()
        await until(pilot, lambda: "more lines" in "".join(last_lines()))
        *_, more, folded = last_lines()
        assert folded == "▸ other · 1 line · 6 bytes", "one step for all of them"
        before = int(more.split()[1].replace(",", ""))
        await pilot.click(widget.chunks[-2])

        def drawn() -> int:
            return sum(row.plain.startswith("line") for chunk in widget.chunks for row in chunk.rows)

        await until(pilot, lambda: drawn() > 1500 - before)
        assert 0 < 1500 - before < drawn() < 1500
        app.transcript.find(Matcher(["line 1499"]))
        await until(pilot, lambda: "line 1499 is one of many" in app.lines())
