"""What happens between the first frame and the sidebars: a person may type already."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.chat_app import ChatApp, running
from ttchat_tui.ui.screens.chat import ChatScreen


async def test_what_is_typed_before_the_sidebars_stand_follows_the_stored_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount_sidebars = ChatScreen._mount_sidebars
    before: list[str] = []

    async def typing_comes_first(screen: ChatScreen) -> None:
        before.append(screen.prompt.text)
        screen.prompt.insert(" and on")
        await mount_sidebars(screen)

    monkeypatch.setattr(ChatScreen, "_mount_sidebars", typing_comes_first)
    chat = ChatApp(tmp_path)
    chat.session.save_draft("kept from yesterday")
    async with running(chat):
        assert before == ["kept from yesterday"]
        assert chat.screen.prompt.text == "kept from yesterday and on"
