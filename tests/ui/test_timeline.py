"""The timeline on screen: the latest replies, and where the time of one went."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.fakes import Gate, Script
from tests.size import sized
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from ttchat_tui.domain.anatomy import PartName, TimelinePart
from ttchat_tui.ui.widgets.timeline.about_reply import histogram
from ttchat_tui.ui.widgets.timeline.bar import LETTERS, bar, cells_of, duration_words, legend

TALK = Script(replies=("One two three four five six.", "Seven eight nine ten."), logprobs=True)


def on_screen(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.app.screen._compositor.render_strips())


async def shows(pilot: Pilot[None], chat: ChatApp, *words: str) -> None:
    """Wait until these words are on screen, however wide the blanks between them are."""
    await until(pilot, lambda: all(_close(each) in _close(on_screen(chat)) for each in words))


def _close(words: str) -> str:
    return " ".join(words.split())


async def say(pilot: Pilot[None], chat: ChatApp, words: str) -> None:
    await pilot.press(*words, "enter")
    await reply_ended(pilot, chat)


async def test_the_latest_replies_are_listed_with_the_parts_of_their_time(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, TALK)
    async with running(chat, (100, 30)) as pilot:
        await pilot.press(*"/timeline", "enter")
        await shows(pilot, chat, "There is no reply yet.")
        await pilot.press("escape")
        await say(pilot, chat, "count")
        await say(pilot, chat, "more")
        await pilot.press(*"/timeline", "enter")
        # 0.1 s to the first token, 0.02 s for each of three more.
        await shows(pilot, chat, "Seven eight nine ten.", "160.0 ms", "whole 160.0 ms · TTFT 0.10 s")
        await shows(pilot, chat, "P prefill 85.0 ms 53.1%", "T template 4.00 ms", "2 first step 20.0 ms")
        await shows(
            pilot, chat, "step 20.0 ms, mean of 2 steps", "D decode 16.0 ms 80.0%", "S sampling 2.00 ms"
        )
        await shows(pilot, chat, "ITL p50 20.0 ms · p95 20.0 ms · p99 20.0 ms", "█ 20.0 ms")
        await shows(pilot, chat, "median of 2 warm replies: TTFT 0.10 s · first step 20.0 ms")
        await pilot.press("down")
        await shows(pilot, chat, "whole 200.0 ms", "mean of 4 steps")
        await pilot.press("enter")
        first = chat.session.path[1].id
        await until(pilot, lambda: chat.app.screen is chat.screen)
        assert chat.screen.transcript.selected == first
        await pilot.press("escape", "ctrl+n", *"/timeline", "enter")
        await shows(pilot, chat, "There is no reply yet.")
        await pilot.press("a")
        await shows(pilot, chat, "One two three four five six.", "here only", "whole 160.0 ms")


async def test_the_help_of_the_timeline_names_every_key_of_its_hint(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, TALK)
    async with running(chat, (100, 30)) as pilot:
        await pilot.press(*"/timeline", "enter")
        await shows(pilot, chat, "enter go there   a everywhere   pgdn scroll")
        await pilot.press("f1")
        await shows(pilot, chat, "↑ ↓", "enter", "Go to it in the chat", "All conversations", "Scroll down")


async def test_a_running_reply_is_followed_and_everything_fits_a_small_screen(tmp_path: Path) -> None:
    gate = Gate()
    script = Script(replies=TALK.replies, logprobs=True, stepped=True)
    chat = ChatApp(tmp_path, script, gate)
    async with running(chat, (60, 20)) as pilot:
        await pilot.press(*"count", "enter")
        gate.release(3)
        await until(pilot, lambda: chat.session.meter.completion_tokens == 3)
        await pilot.press(*"/timeline", "enter")
        await shows(pilot, chat, "still running", "enter go there   a everywhere   pgdn scroll")
        await shows(pilot, chat, "mean of 1 step ")
        gate.release(1)
        await shows(pilot, chat, "mean of 2 steps")
        gate.open()
        await shows(pilot, chat, "whole 200.0 ms", "P prefill 85.0 ms 42.5%")
        pages = [on_screen(chat)]
        for _ in range(4):
            await pilot.press("pagedown")
            await pilot.pause()
            pages.append(on_screen(chat))
        for words in ("mean of 4 steps", "p99 20.0 ms", "N send: each token into the pipe to the app"):
            assert any(words in page for page in pages), words
        assert all(len(line) <= 60 for page in pages for line in page.splitlines())


async def test_a_trace_is_saved_with_the_parts_of_each_token(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, TALK)
    file = tmp_path / "talk.csv"
    async with running(chat, (100, 30)) as pilot:
        await say(pilot, chat, "count")
        chat.screen.command_save(str(file))
        await until(pilot, file.exists)
    assert "phase,token 5,5,180.000,20.000, six.," in file.read_text()
    assert "part,decode,5,181.000,16.000,," in file.read_text()


@pytest.mark.parametrize("width", [1, 20, 96])
@pytest.mark.parametrize("seconds", [[0.001, 2.0, 0.5], [1.0], [1e-6] * 30, [0.0, 0.0]])
def test_a_bar_has_its_width_and_each_part_its_share(width: int, seconds: list[float]) -> None:
    cells = cells_of(seconds, width)
    assert sum(cells) == (width if sum(seconds) else 0)
    for share, found in zip(seconds, cells, strict=True):
        assert not sum(seconds) or abs(found - share / sum(seconds) * width) < 1.0
    parts = [TimelinePart("decode", each) for each in seconds]
    assert bar(parts, width).cell_length == sum(cells)
    words = "".join(("decode" if count > 6 else "D").ljust(count, "█") for count in cells if count)
    assert bar(parts, width).plain == words, "the name, where it has room"


PARTS = [
    TimelinePart("wait", 0.0004),
    TimelinePart("prefill", 0.25),
    TimelinePart("decode", 12.0),
    TimelinePart("screen", 0.125),
]


def test_a_legend_is_in_columns_where_two_have_room() -> None:
    assert [line.plain for line in legend(PARTS, 60)] == [
        "W wait     0.40 ms <0.1%   P prefill 250.0 ms  2.0%",
        "D decode   12.00 s 97.0%   V screen  125.0 ms  1.0%",
    ]
    assert [line.plain for line in legend(PARTS, 116)] == [
        "W wait     0.40 ms <0.1%   P prefill 250.0 ms  2.0%   D decode   12.00 s 97.0%   V screen  125.0 ms  1.0%"
    ]


@settings(max_examples=sized(60, 2_000))
@given(
    st.lists(st.sampled_from(get_args(PartName)), min_size=1, unique=True), st.integers(40, 150), st.data()
)
def test_a_legend_has_every_part_once_and_fits(
    names: list[PartName], width: int, data: st.DataObject
) -> None:
    parts = [TimelinePart(name, data.draw(st.floats(1e-6, 999))) for name in names]
    lines = [line.plain for line in legend(parts, width)]
    assert max(map(len, lines)) <= width
    found = " ".join(" ".join(lines).split())
    for name in names:
        assert found.count(f"{LETTERS[name]} {name} ") == 1
    assert found.count("%") == len(names)


def test_a_legend_names_every_part_within_its_width() -> None:
    lines = [line.plain for line in legend(PARTS, 40)]
    assert max(map(len, lines)) <= 40
    assert "  ".join(lines) == (
        "W wait 0.40 ms <0.1%  P prefill 250.0 ms 2.0%  D decode 12.00 s 97.0%  V screen 125.0 ms 1.0%"
    )


def test_a_duration_has_its_unit() -> None:
    found = [duration_words(each) for each in (None, 0.0, 42e-6, 0.0042, 0.0999, 1.0, 250.0)]
    assert found == ["–", "0.000 ms", "0.042 ms", "4.20 ms", "99.9 ms", "1.00 s", "250 s"]


def test_a_histogram_spans_its_values() -> None:
    assert histogram([1.0, 1.0, 4.0, 9.0], 4) == "█▅ ▅"
    assert histogram([1.0, 1.0], 3) == "█  "
