"""The bottom row: whole keys or none, at any width."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.chat_app import ChatApp, running, until
from tests.ui.shell_app import screen_text

EVERYTHING = "enter send ctrl+j newline esc stop ctrl+n new ctrl+p commands F1 help"


def words_below(chat: ChatApp) -> str:
    return " ".join(screen_text(chat.app)[-1].split())


@pytest.mark.parametrize(
    ("width", "words"),
    [
        (120, EVERYTHING),
        (100, EVERYTHING.replace("ctrl+p", "F4 panel ctrl+p")),
        (80, "enter send ctrl+j newline esc stop F4 panel ctrl+p commands F1 help"),
        (60, "enter send F3 chats F4 panel ctrl+p commands F1 help"),
        (50, "enter send F3 chats ctrl+p commands F1 help"),
        (30, "enter send F1 help"),
        (9, "F1 help"),
    ],
)
async def test_a_narrow_row_leaves_whole_keys_out(tmp_path: Path, width: int, words: str) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (width, 20)):
        assert words_below(chat) == words


async def test_keys_come_and_go_with_the_width_of_the_terminal(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (60, 20)) as pilot:
        await pilot.resize_terminal(110, 20)
        await until(pilot, lambda: words_below(chat) == EVERYTHING)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: "newline" not in words_below(chat))
