"""Transcript: streaming, following, mounting nearby messages, and sources for copying."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.pilot import Pilot

from tests.ui.chat_app import until
from tests.ui.markdown.screen import drawn_text, whole
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.ui.markdown.fenced_code import fenced_code
from ttchat_tui.ui.textual_patches.privates import DockArrangeResult
from ttchat_tui.ui.themes import DEFAULT_THEME, load_themes
from ttchat_tui.ui.widgets.transcript import attached
from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
from ttchat_tui.ui.widgets.transcript.message import MessageWidget
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.new_text_pill import NewTextPill
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

REPLY = "# Title\n\nSome **text** [not markup] \x1b[31m.\n\n```python\nx = 1\n```\n\n- a\n- b\n"


class TranscriptApp(App[None]):
    CSS_PATH = ["../../../ttchat_tui/ui/styles/transcript.tcss"]

    def __init__(self) -> None:
        super().__init__()
        for theme in load_themes([])[0]:
            self.register_theme(theme)
        self.theme = DEFAULT_THEME
        self.copied: list[str] = []

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_transcript_copy_requested(self, event: Transcript.CopyRequested) -> None:
        self.copied.append(event.text)

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)

    def lines(self) -> list[str]:
        """The screen's text, without scrollbar and margins."""
        strips = self.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip)[2:-3].rstrip() for strip in strips]


def user(key: int, text: str = "question") -> MessageView:
    return MessageView(key, "user", text, title="You", time="14:02")


def reply(key: int, text: str = REPLY, **more: object) -> MessageView:
    return MessageView(key, "assistant", text, title="SmolLM2", time="14:03", **more)  # type: ignore[arg-type]


def talk(count: int) -> list[MessageView]:
    return [
        user(key, f"question {key}") if key % 2 else reply(key, f"answer {key} " * 40) for key in range(count)
    ]


async def stream(app: TranscriptApp, pilot: Pilot[None], texts: Sequence[str], key: int = 99) -> None:
    for text in texts:
        app.transcript.feed(key, text)
        app.transcript.flush()
        await pilot.pause()


async def test_a_reply_is_shown_with_its_title_time_figures_and_versions() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(
            [user(1), reply(2, "hi", figures="3 tok · 9.0 tok/s", note="stopped", siblings=(1, 3))]
        )
        await pilot.pause()
        shown = "\n".join(app.lines())
        for part in ("You", "question", "SmolLM2", "‹ 2/3 ›", "14:03", "hi", "stopped", "3 tok · 9.0 tok/s"):
            assert part in shown


async def test_streamed_text_looks_like_the_whole_text() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 40)) as pilot:
        app.transcript.begin(reply(99, ""))
        await stream(app, pilot, [REPLY[at : at + 7] for at in range(0, len(REPLY), 7)])
        app.transcript.finish(reply(99))
        await pilot.pause()
        expected = [line.rstrip() for line in drawn_text(whole(REPLY), 55)]
        start = app.lines().index("Title")
        assert app.lines()[start : start + len(expected)] == expected
        assert app.transcript.source_of(99) == REPLY


async def test_a_finished_reply_shows_the_final_text_even_if_other_text_was_fed() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.begin(reply(99, ""))
        await stream(app, pilot, ["wrong *text"])
        app.transcript.finish(reply(99, "right text"))
        await pilot.pause()
        assert "right text" in app.lines()
        assert not [line for line in app.lines() if "wrong" in line]


async def test_a_reply_can_continue_after_its_text() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1), reply(99, "one ", status="interrupted")])
        app.transcript.begin(reply(99, "one "))
        await stream(app, pilot, ["two"])
        assert "one two" in app.lines()
        assert sum(line.startswith("SmolLM2") for line in app.lines()) == 1


async def test_user_text_is_shown_unchanged() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1, "# include *x*\n\n[red]y[/]\t\x1b[0m")])
        await pilot.pause()
        assert app.lines()[2:5] == ["# include *x*", "", "[red]y[/]   ␛[0m"]


async def test_text_that_fits_into_the_last_line_costs_no_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    layouts: list[Size] = []
    arrange = Transcript.arrange

    def counted(transcript: Transcript, size: Size, optimal: bool = False) -> DockArrangeResult:
        if not optimal:
            layouts.append(size)
        return arrange(transcript, size, optimal)

    monkeypatch.setattr(Transcript, "arrange", counted)
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.begin(reply(99, ""))
        await stream(app, pilot, ["some words"])
        layouts.clear()
        await stream(app, pilot, [" and", " some", " more"])
        assert layouts == []
        await stream(app, pilot, [" words" * 20])
        assert layouts


@pytest.mark.parametrize("unit", ["Prose that goes on. ", "- an item\n", "```\n" + "code\n" * 3 + "```\n"])
async def test_a_flush_redraws_the_tail_only_and_widgets_stay_few(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.begin(reply(99, ""))
        for _ in range(40):
            app.transcript.feed(99, unit * 20)
            app.transcript.flush()
        await pilot.pause()
        message = app.query_one(MessageWidget)
        chunks = list(message.chunks)
        redrawn: list[MessageChunk] = []
        update = MessageChunk.update

        def noted(chunk: MessageChunk, *args: Any, **options: Any) -> None:
            redrawn.append(chunk)
            update(chunk, *args, **options)

        monkeypatch.setattr(MessageChunk, "update", noted)
        await stream(app, pilot, [unit[:5]])
        assert len(set(redrawn) & set(chunks)) <= 1
        assert len(chunks) < 40


async def test_it_follows_the_end_until_the_reader_scrolls_up_and_again_at_the_end() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(talk(8))
        app.transcript.begin(reply(99, ""))
        transcript = app.transcript

        def is_at_end(last: str) -> bool:
            return last in app.lines() and transcript.scroll_y == transcript.max_scroll_y

        await stream(app, pilot, ["line\n\n"] * 12)
        await until(pilot, lambda: is_at_end("line"))
        end = transcript.scroll_y
        transcript.focus()
        await pilot.press("pageup")
        is_moving = partial(app.animator.is_being_animated, transcript, "scroll_y")
        await until(pilot, lambda: transcript.scroll_y < end and not is_moving())
        assert not transcript.is_following
        await pilot.pause()
        at, before = transcript.scroll_y, app.lines()
        await stream(app, pilot, ["more\n\n"] * 12)
        await until(pilot, lambda: "↓ 24 new lines" in app.lines()[-1])
        assert transcript.scroll_y == at
        assert app.lines()[:-1] == before[:-1]
        await pilot.press("end")
        await until(pilot, lambda: is_at_end("more"))
        await stream(app, pilot, ["last\n\n"] * 3)
        await until(pilot, lambda: is_at_end("last"))
        assert "↓" not in app.lines()[-1]
        assert transcript.is_following


async def test_a_click_on_the_pill_follows_again() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([*talk(8), reply(99, "", status="streaming")])
        await pilot.pause()
        app.transcript.scroll_relative(y=-12, animate=False, immediate=True)
        await stream(app, pilot, ["text"])
        await pilot.click("NewTextPill")
        await pilot.pause()
        assert app.transcript.is_following
        assert app.transcript.scroll_y == app.transcript.max_scroll_y


async def test_changes_above_the_view_do_not_move_it() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(talk(12))
        await pilot.pause()
        app.transcript.scroll_relative(y=-10, animate=False, immediate=True)
        await pilot.pause()
        before = app.lines()
        app.transcript.add(reply(2, "much longer than before\n\n" * 10))
        await app.transcript.remove(4)
        await pilot.pause()
        assert app.lines()[:-1] == before[:-1]


async def test_after_a_resize_the_reader_is_still_at_the_same_text() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(100, 20)) as pilot:
        app.transcript.show(talk(12))
        await pilot.pause()
        app.transcript.scroll_relative(y=-30, animate=False, immediate=True)
        await pilot.pause()
        top = next(line for line in app.lines() if "question" in line)
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        assert top in app.lines()


async def test_a_long_conversation_mounts_its_end_and_more_when_the_reader_comes_near() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(talk(500))
        await pilot.pause()
        assert len(app.query(MessageWidget)) <= 40
        assert len(app.query("*")) <= 600
        assert "question 499" in app.lines()
        seen = {line for line in app.lines() if line.startswith("question")}
        for _ in itertools.repeat(None, 20):
            app.transcript.scroll_relative(y=-20, animate=False, immediate=True)
            await pilot.pause()
            before = app.lines()
            await pilot.pause()
            assert app.lines() == before
            seen |= {line for line in before if line.startswith("question")}
            assert len(app.query(MessageWidget)) <= 40
        keys = sorted(int(line.split()[1]) for line in seen)
        assert keys == list(range(keys[0], 500, 2))
        assert keys[0] < 480, keys[0]
        app.transcript.follow()
        await pilot.pause()
        assert "question 499" in app.lines()


async def test_home_shows_the_very_beginning_and_end_the_very_end() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(talk(300))
        app.transcript.focus()
        await pilot.press("home")
        await pilot.pause()
        assert "question 1" in app.lines()
        for _ in range(24):
            app.transcript.scroll_relative(y=20, animate=False, immediate=True)
            await pilot.pause()
        assert len(app.query(MessageWidget)) <= 40
        assert any(line.startswith("question") and int(line.split()[1]) > 60 for line in app.lines())
        await pilot.press("end")
        await pilot.pause()
        assert "question 299" in app.lines()


async def test_a_reply_continues_while_its_end_is_not_mounted() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show([*talk(300), reply(999, "", status="streaming")])
        app.transcript.focus()
        await pilot.press("home")
        await stream(app, pilot, ["unseen ", "text"], key=999)
        app.transcript.follow()
        await pilot.pause()
        await stream(app, pilot, [" goes on"], key=999)
        assert "unseen text goes on" in app.lines()


async def test_sources_and_code_come_back_as_they_were_written() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)):
        text = "a\r\n\n```py\n\tx\n```\n> ~~~\n> y\n> ~~~\n"
        app.transcript.show([reply(1, "older"), reply(2, text), user(3)])
        assert app.transcript.source_of(2) == text
        assert app.transcript.last_reply_source() == text
        assert fenced_code(app.transcript.source_of(2)) == ["\tx", "y"]
        app.transcript.begin(reply(4, ""))
        assert app.transcript.last_reply_source() == text
        app.transcript.feed(4, "new")
        assert app.transcript.source_of(4) == "new"
        with pytest.raises(KeyError):
            app.transcript.source_of(5)


async def test_a_click_on_a_code_header_asks_for_a_copy_of_that_code() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 30)) as pilot:
        app.transcript.show([reply(1, "```py\nfirst\n```\n\ntext\n\n```py\nsecond\n```")])
        await pilot.pause()
        y = [index for index, line in enumerate(app.lines()) if "copy" in line][1]
        await pilot.click(Transcript, offset=(5, y))
        await pilot.pause()
        assert app.copied == ["second"]


async def test_text_can_be_selected_with_the_mouse_across_blocks() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([reply(1, "one two three\n\n- four\n\n```py\nfive = 5\n```")])
        await pilot.pause()
        top = app.lines().index("one two three")
        end = next(index for index, line in enumerate(app.lines()) if "five" in line)
        await pilot.mouse_down(Transcript, offset=(6, top))
        await pilot.hover(Transcript, offset=(7, end))
        await pilot.mouse_up(Transcript, offset=(7, end))
        await pilot.pause()
        assert app.screen.get_selected_text() == "two three\n\n- four\n\n```py\nfive "


async def test_messages_come_and_go_and_a_placeholder_fills_the_void() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.set_placeholder(Content("welcome [b]"))
        await pilot.pause()
        assert any("welcome [b]" in line for line in app.lines())
        app.transcript.set_placeholder(None)
        app.transcript.add(user(1, "first"))
        app.transcript.add(user(2, "second"))
        app.transcript.remove(1)
        app.transcript.remove(77)
        app.transcript.update(user(2, "ignored"))
        await pilot.pause()
        shown = [line for line in app.lines() if line and "You" not in line]
        assert shown == ["second"]
        app.transcript.show([])
        await pilot.pause()
        assert not any(app.lines())


async def test_colours_follow_the_theme() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([reply(1, "```py\nimport x\n```")])
        await pilot.pause()
        dark = [str(segment.style) for segment in app.query(MessageChunk)[1].render_line(1)]
        app.theme = "tenstorrent-light"
        await pilot.pause()
        light = [str(segment.style) for segment in app.query(MessageChunk)[1].render_line(1)]
        assert dark != light


async def test_the_pill_counts_the_lines_that_came_since_the_reader_left_the_end() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([*talk(8), reply(99, "", status="streaming")])
        await pilot.pause()
        app.transcript.scroll_relative(y=-12, animate=False, immediate=True)
        await pilot.pause()
        for texts, label in ((["one"], "↓ 1 new line"), (["two", "three", "four"], "↓ 7 new lines")):
            await stream(app, pilot, [f"{text}\n\n" for text in texts])
            await until(pilot, lambda label=label: app.query_one(NewTextPill).label == label)
        await pilot.resize_terminal(40, 20)
        await stream(app, pilot, ["five\n\n"])
        await until(pilot, lambda: app.query_one(NewTextPill).label == "↓ 9 new lines")


async def test_the_pill_shows_no_count_that_it_cannot_know() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(talk(500))
        app.transcript.action_scroll_home()
        await pilot.pause()
        app.transcript.begin(reply(999, ""))
        await stream(app, pilot, ["text\n\n"] * 3, key=999)
        assert app.query_one(NewTextPill).label == "↓ new"


async def test_a_message_is_selected_by_key_and_comes_into_view() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(talk(500))
        await pilot.pause()
        for _ in range(40):
            app.transcript.select_neighbour(-1)
            await pilot.pause()
        assert app.transcript.selected == 460
        assert [
            widget.view.key for widget in app.query("MessageWidget.-selected").results(MessageWidget)
        ] == [460]
        assert next(filter(None, app.lines())).startswith("SmolLM2")
        assert "answer 460" in " ".join(app.lines())
        app.transcript.select_neighbour(1)
        assert app.transcript.selected == 461
        for step, keys in (
            (-1, [460, 461]),
            (-1, [459, 460, 461]),
            (1, [460, 461]),
            (1, [461]),
            (1, [461, 462]),
        ):
            app.transcript.extend_selection(step)
            assert app.transcript.selected_keys == keys
        await pilot.pause()
        marked = app.query("MessageWidget.-selected").results(MessageWidget)
        assert [widget.view.key for widget in marked] == [461, 462]
        app.transcript.remove(461)
        assert app.transcript.selected_keys == [462], "what is gone is not selected"
        app.transcript.select_neighbour(1)
        assert app.transcript.selected_keys == [463], "a plain step ends the range"


async def test_below_the_last_message_none_is_selected_and_the_end_is_followed() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show(talk(8))
        await pilot.pause()
        app.transcript.select_neighbour(-1)
        assert app.transcript.selected == 7
        app.transcript.select_neighbour(1)
        assert app.transcript.selected is None
        assert app.transcript.is_following


async def test_a_click_selects_a_message_and_a_second_one_none() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1), reply(2, "answer")])
        await pilot.pause()
        text = app.query(MessageWidget).last().chunks[0]
        await pilot.click(text)
        assert app.transcript.selected == 2
        app.transcript.add(reply(2, "another answer"))
        await pilot.pause()
        assert len(app.query("MessageWidget.-selected")) == 1
        app.screen.selections = {}
        await pilot.click(app.query(MessageWidget).last().chunks[0], offset=(3, 0))
        assert app.transcript.selected is None


LONG = "\n".join(f"line {number}" for number in range(3000))
"""More than may be mounted besides."""


@pytest.fixture
def shows_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attached, "SHOWN_AT_ONCE", len(LONG) + 1)


@pytest.mark.usefixtures("shows_long_texts")
async def test_when_a_very_long_message_is_withdrawn_the_messages_before_it_are_shown() -> None:
    """A message that does not fit into the context is added, refused, and taken out again."""
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show([user(1, "first"), reply(2, "answer")])
        app.transcript.add(user(3, LONG))
        await pilot.pause()
        assert "line 2999" in app.lines()
        app.transcript.remove(3)
        await pilot.pause()
        shown = app.lines()
        assert "first" in shown
        assert "answer" in shown


@pytest.mark.usefixtures("shows_long_texts")
async def test_below_a_very_long_message_a_short_one_leaves_a_way_back_up() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show([user(1, "first"), reply(2, "answer"), user(3, LONG)])
        app.transcript.begin(reply(4, ""))
        await stream(app, pilot, ["short"], key=4)
        assert "short" in app.lines()
        assert "line 2999" in app.lines()
        app.transcript.scroll_relative(y=-20, animate=False, immediate=True)
        await pilot.pause()
        assert "line 2970" in app.lines()
        app.transcript.remove(4)
        app.transcript.remove(3)
        app.transcript.follow()
        await pilot.pause()
        assert "answer" in app.lines()


THINKING = "<think>\n" + "Hm, a thought.\n\n" * 12 + "a needle\n</think>\n\nThe answer."


async def test_thoughts_open_by_key_and_click_and_stay_open_when_the_message_is_mounted_again() -> None:
    app = TranscriptApp()
    folded, opened = ["▸ thought", "", "The answer."], ["▾ thought", "Hm, a thought."]

    def shown() -> list[str]:
        """The lines from the first header of a thought on."""
        lines = app.lines()
        starts = [y for y, line in enumerate(lines) if line.endswith(" thought")]
        return lines[starts[0] :] if starts else []

    async with app.run_test(size=(60, 20)) as pilot:
        transcript = app.transcript
        transcript.show([*talk(60), user(97), reply(98, THINKING), reply(99, THINKING)])
        await until(
            pilot,
            lambda: app.lines().count("▸ thought") == 2 and transcript.scroll_y == transcript.max_scroll_y,
        )
        at = app.lines().index("▸ thought")
        await pilot.click(Transcript, offset=(5, at))
        await until(pilot, lambda: app.lines()[at : at + 2] == opened)  # it stays where it is
        await pilot.click(Transcript, offset=(5, at))
        await until(pilot, lambda: app.lines()[at : at + 3] == folded)
        transcript.select(98)
        transcript.focus()
        await pilot.press("enter")
        await until(pilot, lambda: shown()[:2] == opened)
        header = transcript._widgets[98].chunks[0]
        transcript.action_scroll_home()  # far enough for its widget to go
        await until(pilot, lambda: 98 not in transcript._widgets and not header.is_attached)
        transcript.on_message_chunk_thought_clicked(MessageChunk.ThoughtClicked(header, 0))  # too late
        transcript.bring_into_view(98)
        await until(pilot, lambda: shown()[:2] == opened)
        transcript.scroll_to(y=transcript.scroll_y + 15, animate=False, immediate=True)
        await until(pilot, lambda: "▾ thought" not in app.lines())
        assert transcript.toggle_thoughts(98)
        await until(pilot, lambda: shown()[:3] == folded)  # the line comes back into view
        assert not transcript.toggle_thoughts(97)


async def test_folded_thoughts_open_for_what_is_found_in_them() -> None:
    app = TranscriptApp()
    async with app.run_test(size=(60, 20)) as pilot:
        app.transcript.show([user(1), reply(2, THINKING), reply(3, THINKING)])
        await pilot.pause()
        app.transcript.find(Matcher(["needle"]))
        await until(pilot, lambda: "a needle" in app.lines())
        assert app.transcript._widgets[2].hit_count == app.transcript._widgets[3].hit_count == 1
        app.transcript.find(None)
        await pilot.pause()
        assert "a needle" in app.lines(), "the thought being read stays open"
        folding = app.transcript.folding
        assert (folding.is_open(2, 0), folding.is_open(3, 0)) == (False, True)
