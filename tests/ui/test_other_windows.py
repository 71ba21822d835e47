"""Two windows on one conversation: what the screen shows of the other one, before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.fakes import Script
from tests.session.test_other_windows import WORDS, OtherProcess, answer_and_die
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.test_elsewhere import shown
from ttchat_tui.ui.toasts import INTERRUPTED
from ttchat_tui.ui.widgets.prompt import placeholder
from ttchat_tui.ui.widgets.prompt.prompt import PLACEHOLDER

ANSWERS = "another window answers"


async def look(pilot: Pilot[None], chat: ChatApp) -> str:
    """What the screen shows after the next look at other windows."""
    chat.screen.follow_others()
    await settle(pilot, chat)
    return shown(chat)


async def asked(pilot: Pilot[None], chat: ChatApp) -> OtherProcess:
    """A conversation on screen, in which another window then answers."""
    await pilot.press(*"hello", "enter")
    await reply_ended(pilot, chat)
    assert chat.session.conversation is not None
    return OtherProcess(chat.paths.database, chat.session.conversation.id)


@pytest.mark.parametrize("size", [(100, 30), (60, 20)])
async def test_the_reply_of_another_window_streams_here_and_what_is_sent_waits_for_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat, size) as pilot:
        other = await asked(pilot, chat)
        text = await look(pilot, chat)
        assert ANSWERS in text.splitlines()[0]
        assert placeholder.ANSWERED in text, "said before anything is sent, and not cut"
        other.pause(True)
        text = await look(pilot, chat)
        assert "another window has paused" in text.splitlines()[0]
        assert placeholder.ANSWERED_PAUSED in text
        other.pause(False)
        for words in WORDS:
            other.write(words)
            text = await look(pilot, chat)
            assert words in text
            assert placeholder.ANSWERED in text
            assert chat.screen.transcript.source_of(other.reply.id) == words
        await pilot.press(*"more", "enter")
        await settle(pilot, chat)
        assert "1 message waits for the reply in another window" in shown(chat)
        other.end(text=f"{WORDS[-1]} four")
        chat.screen.follow_others()
        await reply_ended(pilot, chat)
        text = await look(pilot, chat)
        assert ANSWERS not in text
        assert PLACEHOLDER in text
        contents = [chat.screen.transcript.source_of(each.id) for each in chat.session.path]
        assert contents == ["hello", "Hi.", "count", "one two three four", "more", "Hi."]
        other.store.close()


async def test_a_reply_of_another_window_that_begins_anew_is_drawn_whole(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        other = await asked(pilot, chat)
        other.write("a first try")
        assert "a first try" in await look(pilot, chat)
        other.write("another beginning")
        text = await look(pilot, chat)
        assert "another beginning" in text
        assert "a first try" not in text
        other.end("interrupted", "another beginning that was stopped")
        assert "another beginning that was stopped" in await look(pilot, chat)
        other.store.close()


async def test_a_window_that_has_died_elsewhere_is_reported_until_it_is_looked_at(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)
        assert chat.session.conversation is not None
        home = chat.session.conversation.id
        await pilot.press("ctrl+n")
        answer_and_die(chat.paths.database, home, "one", lambda: None)
        await look(pilot, chat)
        assert [each.title for each in chat.app._notifications] == [INTERRUPTED]
        assert chat.session.marks.of(home) == "failed"
        await pilot.press(*"other", "enter")
        await reply_ended(pilot, chat)
        assert [each.title for each in chat.app._notifications] == [INTERRUPTED], "sending is no answer to it"
        chat.screen.open_conversation(home)
        await settle(pilot, chat)
        assert "interrupted · /continue resumes it" in shown(chat)
        assert chat.session.marks.of(home) == ""


async def test_a_reply_of_this_window_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True))
    async with running(chat) as pilot:
        await pilot.press(*"hello", "enter")
        await until(pilot, lambda: chat.session.is_busy)
        text = await look(pilot, chat)
        assert placeholder.BUSY in text
        assert ANSWERS not in text
