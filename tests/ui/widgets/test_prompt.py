"""The prompt: Enter sends, the newline keys do not, a paste is one draft, history keeps the draft, typing never stops."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot

from tests.ui.shell_app import ShellApp, screen_text
from ttchat_tui.config.schema import UiSettings
from ttchat_tui.ui.widgets.prompt import prompt as prompt_module
from ttchat_tui.ui.widgets.prompt.history import PromptHistory
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft
from ttchat_tui.ui.widgets.prompt.prompt import MAX_ROWS, MIN_ROWS, Prompt

Act = Callable[[Pilot[None], Prompt], Awaitable[None]]


async def with_prompt(act: Act, prompt: Prompt | None = None, size: tuple[int, int] = (80, 24)) -> ShellApp:
    prompt = prompt or Prompt()
    app = ShellApp(prompt)
    async with app.run_test(size=size) as pilot:
        prompt.focus()
        await act(pilot, prompt)
        await pilot.pause()
    return app


def submitted(app: ShellApp) -> list[str]:
    return [message.text for message in app.of(Prompt.Submitted)]


async def paste(pilot: Pilot[None], prompt: Prompt, text: str) -> None:
    prompt.post_message(events.Paste(text))
    await pilot.pause()


# --- sending and new lines


async def test_enter_submits_the_draft_and_leaves_it_to_the_screen_to_clear_it() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("h", "i", "enter")
        assert prompt.text == "hi"
        prompt.clear_draft()
        assert prompt.text == ""

    assert submitted(await with_prompt(act)) == ["hi"]


async def test_enter_on_a_blank_draft_does_nothing() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("enter", "space", "ctrl+j", "enter")
        assert prompt.text == " \n"

    assert submitted(await with_prompt(act)) == []


@pytest.mark.parametrize("key", ["ctrl+j", "shift+enter", "alt+enter", "shift+\r"])
async def test_newline_keys_begin_a_line(key: str) -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("a", key, "b")
        assert prompt.text == "a\nb"

    assert submitted(await with_prompt(act)) == []


async def test_submit_and_newline_keys_can_be_swapped() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("a", "enter", "b", "ctrl+j")

    app = await with_prompt(act, Prompt(UiSettings(submit_keys=("Ctrl+J",), newline_keys=("enter",))))
    assert submitted(app) == ["a\nb"]


async def test_typing_works_while_a_reply_runs() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_busy(True)
        await pilot.press("x")
        assert prompt.text == "x"
        prompt.set_busy(False)
        assert not prompt.has_class("-busy")

    await with_prompt(act)


# --- pasting


async def test_a_paste_of_5000_lines_is_one_draft_and_sends_nothing() -> None:
    lines = "\r\n".join(f"line {number} with some words in it" for number in range(5_000))

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        before = time.process_time()
        await paste(pilot, prompt, lines)
        # CPU seconds, an order of magnitude above what it takes: this fails only when it turns quadratic.
        assert time.process_time() - before < 5
        assert prompt.text == lines.replace("\r\n", "\n")
        assert prompt.size.height <= MAX_ROWS
        await pilot.press("enter")

    assert [text.count("\n") for text in submitted(await with_prompt(act))] == [4_999]


async def test_a_paste_lands_at_the_cursor_and_can_be_undone_in_one_step() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("a", "b", "left")
        await paste(pilot, prompt, "1\n2")
        assert prompt.text == "a1\n2b"
        await pilot.press("ctrl+z")
        assert prompt.text == "ab"

    await with_prompt(act)


@pytest.mark.parametrize(
    ("pasted", "kept"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("a\rb\r\nc\u2028d", "a\nb\nc\nd"),
        ("tab\tstays", "tab\tstays"),
        ("bell\x07 nul\x00 c1\x9b del\x7f", "bell nul c1 del"),
        ("tro\u202ejan", "trojan"),
        ("tags\U000e0068\U000e0069, a\u200bz\u2060e\u00adro", "tags, azero"),
        ("می\u200cخواهم 👩\u200d👧", "می\u200cخواهم 👩\u200d👧"),
        ("half \ud83d a pair", "half  a pair"),
    ],
)
def test_escape_sequences_do_not_get_into_a_draft(pasted: str, kept: str) -> None:
    assert as_draft(pasted) == kept


@given(st.text())
def test_cleaning_a_draft_twice_changes_nothing_more_and_leaves_no_control_character(text: str) -> None:
    once = as_draft(text)
    assert as_draft(once) == once or "\x1b" in text
    assert not any((ord(c) < 32 and c not in "\n\t") or 0x7F <= ord(c) < 0xA0 for c in once)


# --- history


async def test_up_and_down_walk_through_history_and_come_back_to_the_draft() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_history(["first", "second\nof two lines"])
        await pilot.press("d", "up")
        assert prompt.text == "second\nof two lines"
        await pilot.press("up")
        assert prompt.text == "first"
        await pilot.press("up")
        assert prompt.text == "first"
        await pilot.press("down", "down", "down")
        assert prompt.text == "d"

    await with_prompt(act)


async def test_up_inside_a_draft_of_several_lines_moves_the_cursor_first() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_history(["old"])
        prompt.set_draft("one\ntwo")
        await pilot.press("up")
        assert (prompt.text, prompt.cursor_location[0]) == ("one\ntwo", 0)
        await pilot.press("up")
        assert prompt.text == "old"

    await with_prompt(act)


async def test_a_wrapped_line_counts_as_several_when_going_up() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_history(["old"])
        prompt.set_draft("word " * 30)
        await pilot.press("up")
        assert prompt.text.startswith("word")

    await with_prompt(act, size=(40, 24))


async def test_a_sent_prompt_is_the_newest_in_the_history() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_history(["older"])
        await pilot.press("n", "e", "w", "enter")
        prompt.clear_draft()
        await pilot.press("up")
        assert prompt.text == "new"

    await with_prompt(act)


@given(st.lists(st.sampled_from(["older", "newer"]), max_size=30), st.lists(st.text(min_size=1), max_size=5))
def test_no_walk_through_history_loses_the_draft(walk: list[str], entries: list[str]) -> None:
    history = PromptHistory()
    history.replace(entries)
    shown = "the draft"
    for step in walk:
        shown = getattr(history, step)(shown) or shown if history._entries else shown
    for _ in range(len(entries) + 1):
        found = history.newer(shown)
        shown = shown if found is None else found
    assert shown == "the draft"


# --- the draft


async def test_a_draft_is_reported_once_after_typing_and_not_for_every_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_module, "DRAFT_PAUSE_S", 60)

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("a", "b", "c")
        prompt.report_draft()
        prompt.report_draft()

    assert [message.text for message in (await with_prompt(act)).of(Prompt.DraftChanged)] == ["abc"]


async def test_every_key_restarts_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    class FakeTimer:
        def __init__(self, delay: float, callback: object) -> None:
            self.number = len(stopped)
            stopped.append(False)

        def stop(self) -> None:
            stopped[self.number] = True

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        monkeypatch.setattr(prompt, "set_timer", FakeTimer)
        await pilot.press("a", "b", "c")
        assert stopped == [True, True, False]

    await with_prompt(act)


async def test_a_pause_in_typing_reports_the_draft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_module, "DRAFT_PAUSE_S", 0.01)
    reported = asyncio.Event()

    class Told(Prompt):
        def on_prompt_draft_changed(self) -> None:
            reported.set()

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("a")
        await asyncio.wait_for(reported.wait(), 5)

    await with_prompt(act, Told())


async def test_setting_a_draft_is_not_reported_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_module, "DRAFT_PAUSE_S", 0.01)

    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_draft("from the database")
        await pilot.pause(0.05)
        assert prompt.cursor_location == (0, len("from the database"))

    assert (await with_prompt(act)).of(Prompt.DraftChanged) == []


async def test_the_height_follows_the_text_between_its_ends() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.pause()
        assert prompt.content_size.height == MIN_ROWS
        prompt.set_draft("\n".join("abcd"))
        await pilot.pause()
        assert prompt.content_size.height == 4
        prompt.set_draft("\n" * 50)
        await pilot.pause()
        assert prompt.content_size.height == MAX_ROWS
        prompt.clear_draft()
        await pilot.pause()
        assert prompt.content_size.height == MIN_ROWS

    await with_prompt(act)


async def test_on_a_small_screen_the_prompt_takes_a_third_at_most() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_draft("\n" * 50)
        await pilot.pause()
        assert prompt.content_size.height == 6

    await with_prompt(act, size=(60, 20))


async def test_the_token_hint_is_at_the_right_of_the_lower_border_and_not_markup() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_token_hint("23 [b]tok")
        await pilot.pause()
        assert any(line.rstrip("╯─ ").endswith("23 [b]tok") for line in screen_text(pilot.app))
        prompt.set_token_hint("")
        await pilot.pause()
        assert not any("tok" in line for line in screen_text(pilot.app))

    await with_prompt(act)


async def test_page_keys_are_passed_on_while_the_draft_fits() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press("pageup", "pagedown")
        prompt.set_draft("\n" * 50)
        await pilot.pause()
        await pilot.press("pageup")

    app = await with_prompt(act)
    assert [message.pages for message in app.of(Prompt.ScrollRequested)] == [-1, 1]


async def test_an_idle_prompt_has_no_timer_that_repaints() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        assert prompt.cursor_blink is False

    await with_prompt(act)


# --- ways of editing


async def test_vi_keys_edit_the_draft_and_the_border_has_the_mode() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        def shown() -> tuple[str, str, str]:
            return prompt.text, str(prompt.border_title), prompt.selected_text

        await pilot.press(*"one two", "escape")
        assert shown() == ("one two", "normal", "")
        await pilot.press(*"0d")
        assert shown()[1] == "normal d"
        await pilot.press("w")
        assert shown() == ("two", "normal", "")
        await pilot.press("u")
        assert prompt.text == "one two"
        await pilot.press("ctrl+r")
        assert prompt.text == "two"
        await pilot.press(*"xxu")
        assert prompt.text == "wo", "each command is undone alone"
        await pilot.press("c", "w", *"fo", "left", "backspace", "escape", "u")
        assert prompt.text == "wo", "with all that it has inserted"
        await pilot.press("u", *"0vl")
        assert shown() == ("two", "visual", "t"), "the second character is under the cursor"
        await pilot.press("c", *"f", "enter")
        prompt.clear_draft()
        assert shown() == ("", "insert", "")
        prompt.set_history(["before"])
        await pilot.press("escape", "k")
        assert (prompt.text, prompt.cursor_location) == ("before", (0, 5)), "on a character"
        await pilot.press("u", "end", "x", "backspace", "x")
        assert prompt.text == "befr", "nothing is undone of another draft, and backspace deletes nothing"
        prompt.clear_draft()
        await pilot.press("escape", "x")
        prompt.write("pasted")
        assert shown() == ("pasted", "insert", "")
        await pilot.press("escape", "V", "h")
        assert shown() == ("pasted", "visual line", "pasted")
        await pilot.press('"', "+", "y", "A", *"!", "escape", ".")
        assert shown() == ("pasted!!", "normal", "")
        assert pilot.app.clipboard == "pasted\n"
        await pilot.press(*"?st")
        assert shown()[1] == "normal ?st"
        await pilot.press("enter")
        assert (shown()[1], prompt.cursor_location) == ("normal", (0, 2)), "enter searches"

    assert submitted(await with_prompt(act, Prompt(UiSettings(editing="vi")))) == ["fo"]


@pytest.mark.parametrize("habit", [":w", ":wq", ":q!", ":x", ":", ":s/a/b/", "v:w"])
async def test_a_colon_command_of_habit_sends_and_changes_nothing(habit: str) -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        await pilot.press(*"abc", "escape", *habit, "enter")
        await pilot.pause()
        assert prompt.text == "abc"
        await pilot.press("escape", "escape", "enter")

    assert submitted(await with_prompt(act, Prompt(UiSettings(editing="vi")))) == ["abc"]


async def test_emacs_keys_edit_the_draft_and_recall_prompts() -> None:
    async def act(pilot: Pilot[None], prompt: Prompt) -> None:
        prompt.set_history(["before"])
        await pilot.press(*"one 2x", "ctrl+w", "ctrl+a", "ctrl+y", "ctrl+f", "ctrl+k")
        assert (prompt.text, prompt.cursor_location) == ("2xo", (0, 3))
        await pilot.press("up")  # as ctrl+p, which is Textual's own in this test's app
        assert prompt.text == "before"
        await pilot.press("ctrl+n")
        assert prompt.text == "2xo"

    await with_prompt(act, Prompt(UiSettings(editing="emacs")))
