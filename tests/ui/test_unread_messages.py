"""Messages of a long conversation that cannot be read when they are wanted: each action says so, and the app goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.events import AppFocus

from tests.storage.examples import answer
from tests.ui.chat_app import ChatApp, running, settle, until
from ttchat_tui.domain.conversation import Edit, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import PAGE
from ttchat_tui.ui.screens import elsewhere

READ_ALL = ("save", "context", "show_files", "save_template")
"""These need the whole conversation."""


async def test_an_unreadable_message_ends_no_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = ChatApp(tmp_path)
    home, parent = chat.store.create_conversation(), None
    for number in range(PAGE):
        parent = answer(chat.store, chat.store.add_user_message(home.id, parent, f"question {number}")).id
    first = chat.store.path(parent or 0).ids[0]
    chat.store.drafts.set(home.id, "a draft", Edit(first, "an edit"))
    whole = ConversationStore.messages

    def refuse(store: ConversationStore, ids: Sequence[int]) -> list[Message]:
        if first in ids:
            raise StorageError(ErrorInfo(kind="database_corrupt", message="It cannot be read."))
        return whole(store, ids)

    monkeypatch.setattr(ConversationStore, "messages", refuse)
    async with running(chat, (80, 24)) as pilot:
        chat.screen.open_conversation(home.id)
        await settle(pilot, chat)
        assert "It cannot be read." in chat.toasts(), "its edit cannot be resumed"
        await pilot.press("up")
        assert chat.screen.prompt.text == "an edit", "and its text is not lost"
        for name in READ_ALL:
            chat.app.clear_notifications()
            await chat.screen.run_action(name)
            await settle(pilot, chat)
            assert chat.app.screen is chat.screen
            assert "It cannot be read." in chat.toasts(), name
        chat.screen.transcript.action_scroll_home()
        await settle(pilot, chat)
        chat.screen.transcript.select(first)
        await settle(pilot, chat)
        chat.app.clear_notifications()
        await pilot.press("f8")
        await settle(pilot, chat)
        assert chat.toasts() == ["It cannot be read."]


async def test_a_conversation_without_replies_is_not_read_whole_to_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elsewhere, "READ_AFTER_S", 1e6)
    chat = ChatApp(tmp_path)
    home, ids = chat.store.create_conversation(), list[int]()
    for number in range(5 * PAGE):
        ids.append(chat.store.add_user_message(home.id, ids[-1] if ids else None, f"note {number}").id)
    other = chat.store.add_user_message(home.id, ids[-2], "another end").id
    async with running(chat, (80, 24)) as pilot:
        chat.screen.open_conversation(home.id)
        await settle(pilot, chat)
        assert chat.session.path.ids[-1] == other
        assert len(chat.session.path.already_read()) <= PAGE
        assert chat.screen._jump(ids[-1])
        await settle(pilot, chat)
        assert chat.session.path.ids == ids
        assert len(chat.session.path.already_read()) <= PAGE + 1


@pytest.mark.parametrize("comes_back", ["scroll", "focus"])
async def test_what_could_not_be_read_is_read_again_when_the_user_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: str
) -> None:
    monkeypatch.setattr(elsewhere, "READ_AFTER_S", 0)
    monkeypatch.setattr(elsewhere, "READ_EVERY_S", 0)
    chat = ChatApp(tmp_path)
    home, ids = chat.store.create_conversation(), list[int]()
    for number in range(4 * PAGE):
        ids.append(chat.store.add_user_message(home.id, ids[-1] if ids else None, f"note {number}").id)
    whole, is_broken = ConversationStore.messages, True

    def read(store: ConversationStore, wanted: Sequence[int]) -> list[Message]:
        if is_broken and ids[0] in wanted:
            raise StorageError(ErrorInfo(kind="database_corrupt", message="It cannot be read."))
        return whole(store, wanted)

    monkeypatch.setattr(ConversationStore, "messages", read)
    async with running(chat, (80, 24)) as pilot:

        async def come_back() -> None:
            if comes_back == "focus":
                chat.app.post_message(AppFocus())
            else:
                transcript.scroll_lines(1 if transcript.scroll_y < 2 else -1)
            await until(pilot, lambda: chat.screen._reading is None)

        transcript, words = chat.screen.transcript, f"It cannot be read.\n{elsewhere.TRIED_AGAIN}"
        chat.screen.open_conversation(home.id)
        await until(pilot, lambda: words in chat.toasts())
        transcript.action_scroll_home()
        await settle(pilot, chat)
        assert transcript.source_of(ids[0]) == ""
        await come_back()
        assert chat.toasts() == [words], "one toast for the same failure"
        is_broken = False
        await come_back()
        await until(pilot, lambda: chat.session.path.is_read)
        await settle(pilot, chat)
        assert transcript.source_of(ids[0]) == "note 0"
        assert chat.screen._unreadable == frozenset()
