"""Typed text reaches the prompt wherever the focus is, unless a field is being edited."""

from __future__ import annotations

from pathlib import Path

from textual import events

from tests.ui.chat_app import ChatApp, running

PLACES = ("Transcript", "ConversationList", "Slider", "NumberField", "PresetMenu", "CollapsibleTitle", "")
"""Where the focus is; the last is nowhere."""


async def test_letters_go_to_the_prompt_and_the_focus_with_them(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for place in PLACES:
            chat.app.set_focus(chat.screen.query(place).first() if place else None)
            await pilot.press(*"a dog", "slash", "r", "n")
            assert chat.screen.prompt.text == "a dog/rn", place
            assert chat.app.focused is chat.screen.prompt, place
            assert len(chat.app.screen_stack) == 1, place
            await pilot.press("ctrl+u")


async def test_a_paste_goes_to_the_prompt_too(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for place in ("Transcript", "ConversationList", "Slider", ""):
            chat.screen.prompt.set_draft("")
            chat.app.set_focus(chat.screen.query(place).first() if place else None)
            await chat.app._post_message(events.Paste("two\nlines"))
            await pilot.pause()
            assert chat.screen.prompt.text == "two\nlines", place


async def test_digits_type_a_value_and_a_letter_after_them_begins_a_message(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press("f5", "1", ".", "2", "enter")
        assert chat.session.sampling.temperature == 1.2
        assert chat.screen.prompt.text == ""
        for row, typed in (("Slider", "1.5"), ("NumberField", "77")):
            chat.app.set_focus(chat.screen.query(row).first())
            await pilot.press(*typed, "h", "i")
            assert (chat.screen.prompt.text, chat.app.focused) == ("hi", chat.screen.prompt), row
            await pilot.press("ctrl+u")
        assert (chat.session.sampling.temperature, chat.session.sampling.max_tokens) == (1.5, 77)


async def test_tab_from_the_system_prompt_goes_to_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.query("SystemPrompt").first().focus()
        await pilot.press("x", "tab", "y")
        assert chat.screen.prompt.text == "y"


async def test_one_escape_clears_the_filter_and_goes_to_the_prompt_and_ctrl_n_clears_it(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        assert chat.screen.history_panel is not None
        field = chat.screen.history_panel.filter_input
        await pilot.press("ctrl+f", "z", "escape", "a")
        assert (field.value, chat.screen.prompt.text) == ("", "a")
        await pilot.press("ctrl+f", "z", "ctrl+n", "b")
        assert (field.value, chat.screen.prompt.text) == ("", "ab")
