"""Typed text reaches the prompt wherever the focus is, unless a field is being edited."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from tests.ui.chat_app import ChatApp, running


@pytest.mark.parametrize(
    "place",
    ["Transcript", "ConversationList", "Slider", "NumberField", "PresetMenu", "CollapsibleTitle", None],
)
async def test_letters_go_to_the_prompt_and_the_focus_with_them(tmp_path: Path, place: str | None) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.app.set_focus(chat.screen.query(place).first() if place else None)
        await pilot.press(*"I added a dog", "slash", "r", "n")
        assert chat.screen.prompt.text == "I added a dog/rn"
        assert chat.app.focused is chat.screen.prompt
        assert len(chat.app.screen_stack) == 1


@pytest.mark.parametrize("place", ["Transcript", "ConversationList", "Slider", None])
async def test_a_paste_does_too(tmp_path: Path, place: str | None) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.app.set_focus(chat.screen.query(place).first() if place else None)
        await chat.app._post_message(events.Paste("two\nlines"))
        await pilot.pause()
        assert chat.screen.prompt.text == "two\nlines"


async def test_digits_still_type_a_value_on_a_slider(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press("f5", "1", ".", "2", "enter")
        assert chat.session.sampling.temperature == 1.2
        assert chat.screen.prompt.text == ""


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
