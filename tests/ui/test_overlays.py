"""Floating sidebars: they have the focus, replace the prompt, and close by key, Esc or a click beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running
from ttchat_tui.ui.widgets.history.panel import FilterInput, HistoryPanel
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.sampling.slider import Slider

NARROW = (60, 20)


async def press(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def test_opening_an_overlay_focuses_it_and_hides_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, NARROW) as pilot:
        await press(pilot, *"draft")
        for key, first in (("f3", FilterInput), ("f4", Slider), ("f5", Slider), ("ctrl+f", FilterInput)):
            await press(pilot, key)
            assert isinstance(chat.app.focused, first), key
            assert not chat.screen.prompt.display, key
            await press(pilot, "escape")
            assert isinstance(chat.app.focused, Prompt), key
            assert chat.screen.prompt.display, key
            assert chat.screen.prompt.text == "draft", key


async def test_closing_an_overlay_focuses_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, NARROW) as pilot:
        await press(pilot, *"hi", "enter")
        await reply_ended(pilot, chat)
        for open_it, *close_it in (("f3", "f3"), ("f4", "f4"), ("f4", "ctrl+l"), ("f3", "tab", "n")):
            await press(pilot, open_it)
            assert chat.screen.overlay != "", open_it
            await press(pilot, *close_it)
            assert chat.screen.overlay == "", close_it
            assert isinstance(chat.app.focused, Prompt), close_it


async def test_one_overlay_replaces_the_other(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, NARROW) as pilot:
        await press(pilot, "f3", "f4")
        assert chat.screen.overlay == "right"
        assert not chat.screen.query_one(HistoryPanel).display
        assert isinstance(chat.app.focused, Slider)


async def test_a_click_beside_closes_it_and_one_within_does_not(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, NARROW) as pilot:
        await press(pilot, "f4")
        await pilot.click(offset=(40, 8))
        assert chat.screen.overlay == "right"
        await pilot.click(offset=(5, 8))
        await pilot.pause()
        assert chat.screen.overlay == ""
        assert isinstance(chat.app.focused, Prompt)


async def test_esc_while_a_reply_streams_leaves_the_keys_where_they_are(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat, NARROW) as pilot:
        await press(pilot, *"go", "enter", "f4", "escape")
        await reply_ended(pilot, chat)
        assert isinstance(chat.app.focused, Slider)
        await press(pilot, "escape")
        assert isinstance(chat.app.focused, Prompt)


async def test_a_growing_terminal_keeps_the_focus_in_the_sidebar(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, NARROW) as pilot:
        await press(pilot, "f4")
        await pilot.resize_terminal(120, 30)
        await pilot.pause()
        assert chat.screen.overlay == ""
        assert isinstance(chat.app.focused, Slider)
        assert chat.screen.prompt.display


@pytest.mark.parametrize("keys", [("f5", "f4"), ("ctrl+f", "f3")])
async def test_hiding_a_focused_sidebar_focuses_the_prompt(tmp_path: Path, keys: tuple[str, ...]) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await press(pilot, *keys, *"on")
        assert chat.screen.prompt.text == "on"
