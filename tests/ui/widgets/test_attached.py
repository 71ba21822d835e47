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
from ttchat_tui.ui.markdown.rows import TextRow
from ttchat_tui.ui.widgets.transcript import attached
from ttchat_tui.ui.widgets.transcript.attached import message_chunks
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message import MessageWidget
from ttchat_tui.ui.widgets.transcript.part_hits import PartHits

BLOCKS = [block_of("a\x1b[1m.py", "x = 1\n\nprint(x)\n", language="python"), block_of("empty", "")]
SENT = with_blocks("Explain [bold]this[/]\nplease", BLOCKS)


@pytest.mark.parametrize(
    ("opened", "drawn"),
    [
        (dict[int, attached.Shown](), ["▸ a␛[1m.py · 3 lines · 16 bytes", "▸ empty · 0 lines · 0 bytes"]),
        (
            {0: (0, 99), 1: (0, 0)},
            ["▾ a␛[1m.py · 3 lines · 16 bytes", "x = 1", "", "print(x)", "▾ empty · 0 lines · 0 bytes", ""],
        ),
    ],
)
def test_what_is_drawn_is_folded_and_what_is_copied_is_the_message(
    opened: dict[int, attached.Shown], drawn: list[str]
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
        patch.setattr(attached, "SHOWN_AT_ONCE", 20)
        shown, drawn_before = 0, 0
        while True:
            shown = attached.more_of(content, shown)
            chunks = message_chunks(sent, {0: (0, shown)})
            assert content.rstrip("\n") in copied(chunks)
            assert copied(chunks).endswith("```\n")
            drawn = [
                row.content.plain for chunk in chunks[2:] for row in chunk.rows if isinstance(row, TextRow)
            ]
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


LONG = "".join(
    f"line {number} is {'rare' if number % 4000 == 3999 else 'one of many'}\n" for number in range(20_000)
)


@pytest.mark.parametrize("sent", [with_blocks("See", [block_of("long", LONG)]), LONG], ids=["file", "paste"])
async def test_a_hit_far_down_in_a_long_text_lays_out_what_is_around_it(sent: str) -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1, sent)])
        await pilot.pause()
        widget = app.query_one(MessageWidget)

        def drawn() -> list[str]:
            return [
                row.plain for chunk in widget.chunks for row in chunk.rows if row.plain.startswith("line")
            ]

        assert len(drawn()) < 1000
        app.transcript.find(Matcher(["rare"]))
        for number in (3999, 7999, 11999, 15999, 19999, 3999):
            await until(pilot, lambda: f"line {number} is rare" in app.lines())  # noqa: B023
            assert len(drawn()) < 1000
            assert widget.hit_count == 5
            app.transcript.step_hit(1)
        app.transcript.step_hit(-1)
        await until(pilot, lambda: "line 3999 is rare" in app.lines())
        before, end = len(drawn()), drawn()[-1]
        app.transcript.select(1)
        app.transcript.action_toggle_selected_thoughts()  # enter
        await pilot.pause()
        assert before < len(drawn()) < 2 * before + 50
        assert end in drawn()
        above = next(chunk for chunk in widget.chunks if isinstance(chunk.rows[0], attached.MoreRow))
        assert isinstance(above.rows[0], TextRow)
        assert above.rows[0].content.plain.startswith("▴ ")
        first = drawn()[0]
        app.transcript.bring_into_view(1)
        await pilot.pause()
        await pilot.click(above)
        await until(pilot, lambda: drawn()[0] != first)
        assert first in drawn()


@settings(max_examples=sized(15, 500), deadline=None)
@given(
    st.lists(st.sampled_from(["", "ab", "x\tab", "ab\x1bab " * 3, "é" * 30 + "AB"]), max_size=12),
    st.lists(st.sampled_from(["", "ab", "y"]), max_size=9),
)
def test_hits_that_are_not_drawn_count_as_those_that_are(lines: list[str], more: list[str]) -> None:
    sent = with_blocks(
        "\n".join(more), [block_of("ab.txt", "\n".join(lines)), block_of("other", "\n".join(more))]
    )
    matcher = Matcher(["ab"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attached, "SHOWN_AT_ONCE", 20)
        attached.slices_of.cache_clear()
        hits = PartHits(sent, matcher)
        whole = {part.index: (0, len(part.text)) for part in attached.parts_of(sent)}

        def plain(opened: dict[int, attached.Shown]) -> list[str]:
            return [row.plain for chunk in message_chunks(sent, opened) for row in chunk.rows]

        def marked(opened: dict[int, attached.Shown]) -> list[str]:
            """The rows of all hits that are drawn, in order."""
            return [row for row in plain(opened) for _ in matcher.spans(row)]

        every = marked(whole)
        assert hits.count == len(every)
        for number, row in enumerate(every):
            opened = hits.with_hit(number, hits.with_firsts({}))
            assert marked(opened)[hits.drawn(number, opened)].strip("▸▾") == row.strip("▸▾")
    attached.slices_of.cache_clear()
