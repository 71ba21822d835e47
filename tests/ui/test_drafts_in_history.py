"""The draft is kept while the prompt shows an earlier one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, running, until


@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        ([], "since"),
        (["up"], "since"),
        (["up", "down"], "since"),
        (["up", "!"], "since\n\nhello!"),
    ],
)
async def test_the_draft_is_kept_not_the_prompt_that_is_shown(
    tmp_path: Path, keys: list[str], kept: str
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: chat.screen.has_answered)
        await pilot.press(*"since", *keys)
        chat.screen.prompt.report_draft()
        await pilot.pause()
        assert chat.session.draft == kept
        left = chat.session.conversation
        assert left is not None
        await pilot.press("ctrl+n")
        chat.screen.open_conversation(left.id)
        await until(pilot, lambda: chat.screen.prompt.text == kept)


async def test_an_edit_is_kept_while_an_earlier_prompt_is_shown(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: chat.screen.has_answered)
        await pilot.press(*"draft", "up", "alt+e", "1")
        assert chat.screen.prompt.text == "hello1"
        await pilot.press("escape")
        assert chat.screen.prompt.text == chat.session.draft == "draft"
