"""The bottom row: whole keys or none, at any width."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, running, until
from tests.ui.shell_app import screen_text
from ttchat_tui.ui.commands import BY_NAME
from ttchat_tui.ui.screens.help import HelpScreen
from ttchat_tui.ui.widgets.key_line import KeyLine

EVERYTHING = "enter send ctrl+j newline ctrl+n new ctrl+p commands F1 help"


def words_below(chat: ChatApp) -> str:
    return " ".join(screen_text(chat.app)[-1].split())


WORDS_AT_WIDTH: Final = {
    9: "F1 help",
    30: "enter send F1 help",
    50: "enter send F3 chats ctrl+p commands F1 help",
    60: "enter send F3 chats F4 panel ctrl+p commands F1 help",
    80: "enter send ctrl+j newline ctrl+n new F4 panel ctrl+p commands F1 help",
    100: EVERYTHING.replace("ctrl+p", "F4 panel ctrl+p"),
    120: EVERYTHING,
}


async def test_a_narrow_row_leaves_whole_keys_out(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (min(WORDS_AT_WIDTH), 20)) as pilot:
        for width, words in WORDS_AT_WIDTH.items():
            await pilot.resize_terminal(width, 20)
            await pilot.pause()
            assert words_below(chat) == words


async def test_escape_is_named_by_what_it_does_now(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat, (60, 20)) as pilot:
        assert "esc" not in words_below(chat)
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: "esc stop" in words_below(chat))
        gate.open()
        await until(pilot, lambda: "esc" not in words_below(chat))
        await pilot.press("ctrl+up")
        await until(pilot, lambda: "esc deselect" in words_below(chat))
        await pilot.press("escape")
        await until(pilot, lambda: "esc" not in words_below(chat))
        await pilot.press("f4")
        await until(pilot, lambda: "esc close" in words_below(chat))
        await pilot.press("escape")
        await until(pilot, lambda: "esc" not in words_below(chat))


async def test_of_the_keys_of_a_slider_as_many_are_shown_as_leave_room_for_escape(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    own = ("← → change", "enter type", "delete reset", "↑ ↓ row")
    async with running(chat, (60, 20)) as pilot:
        await pilot.press("f4")
        for width in (60, 52, 44, 36):
            await pilot.resize_terminal(width, 20)
            await pilot.pause()
            words = words_below(chat)
            assert words.endswith("esc close F1 help"), width
            assert words in [" ".join((*own[:most], "esc close", "F1 help")) for most in range(5)]
        assert own[0] in words


async def test_keys_come_and_go_with_the_width_of_the_terminal(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (60, 20)) as pilot:
        await pilot.resize_terminal(110, 20)
        await until(pilot, lambda: words_below(chat) == EVERYTHING)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "newline" not in words_below(chat))


async def test_a_key_is_pressed_with_the_mouse_and_explains_itself(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        line = chat.screen.query_one(KeyLine)
        at = screen_text(chat.app)[-1].index("help")
        await pilot.hover(KeyLine, offset=(at, 0))
        assert line.tooltip == BY_NAME["help"].help
        await pilot.click(KeyLine, offset=(at, 0))
        await until(pilot, lambda: isinstance(chat.app.screen, HelpScreen))
        await pilot.press("escape")
        await pilot.hover(KeyLine, offset=(79, 0))
        assert line.tooltip is None
