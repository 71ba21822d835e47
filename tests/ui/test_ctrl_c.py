"""ctrl+c copies the selection, else stops the reply, else quits when pressed twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from ttchat_tui.ui import app as apps


async def test_it_stops_a_reply_and_does_not_count_toward_quitting(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press("h", "enter")
        await until(pilot, lambda: chat.session.is_busy)
        await pilot.press("ctrl+c")
        gate.open()
        await reply_ended(pilot, chat)
        assert chat.session.path[-1].status == "interrupted"
        await pilot.press("ctrl+c")
        assert chat.app.is_running
        assert chat.toasts() == ["Press ctrl+c again to quit; ctrl+q quits too."]


async def test_pressed_twice_it_quits_and_keeps_the_draft(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        await pilot.press("d", "r", "a", "f", "t", "ctrl+c", "ctrl+c")
        await until(pilot, lambda: chat.app.return_code is not None)
        assert chat.app.return_code == 0
        assert chat.store.drafts.of(None).text == "draft"


async def test_a_second_press_much_later_only_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path)
    monkeypatch.setattr(apps, "AGAIN_S", 0.0)
    async with running(chat) as pilot:
        await pilot.press("ctrl+c", "ctrl+c")
        assert chat.app.return_code is None


async def test_a_selection_in_the_prompt_is_copied_by_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path)
    copied: list[str] = []
    async with running(chat) as pilot:
        monkeypatch.setattr(chat.screen, "copy", copied.append)
        await pilot.press("w", "o", "r", "d", "shift+home", "ctrl+c")
        assert copied == ["word"]
        assert chat.toasts() == []
