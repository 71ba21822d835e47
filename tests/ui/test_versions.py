"""Every version of a reply can be shown again, by key, command and mouse, with the messages after it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from textual.pilot import Pilot

from tests.fakes import SHOUT, Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle
from ttchat_tui.ui.widgets.transcript.message import MessageWidget

REPLIES = ("an answer", "what follows")
OLDER, NEWER, FOLLOWS = "an answer", "AN ANSWER", "WHAT FOLLOWS"


async def ask_twice(pilot: Pilot[None], chat: ChatApp) -> None:
    """One message with two replies, the newer one (in capitals) on screen."""
    await pilot.press(*"count", "enter")
    await reply_ended(pilot, chat)
    chat.session.set_sampling(structs.replace(chat.session.sampling, temperature=SHOUT))
    await pilot.press("ctrl+r")
    await reply_ended(pilot, chat)


def said(chat: ChatApp) -> list[str]:
    return [message.content for message in chat.session.path]


def on_screen(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.screen._compositor.render_strips())


@pytest.mark.parametrize(
    ("older", "newer"),
    [(["alt+h"], ["alt+l"]), ([*"/older", "enter"], [*"/newer", "enter"])],
)
async def test_the_older_reply_comes_back_and_goes_again(
    tmp_path: Path, older: list[str], newer: list[str]
) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        assert said(chat) == ["count", NEWER]
        await pilot.press(*older)
        await settle(pilot, chat)
        assert said(chat) == ["count", OLDER]
        assert "‹ 1/2 ›" in on_screen(chat)
        assert OLDER in on_screen(chat)
        await pilot.press(*older)
        assert said(chat) == ["count", OLDER], "there is none before the first"
        await pilot.press(*newer)
        await settle(pilot, chat)
        assert "‹ 2/2 ›" in on_screen(chat)


async def test_messages_that_follow_the_other_version_are_counted(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        await pilot.press("alt+h", "alt+l")
        await settle(pilot, chat)
        assert chat.toasts() == [], "nothing follows either version"
        await pilot.press(*"more", "enter")
        await reply_ended(pilot, chat)
        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("alt+h")
        await settle(pilot, chat)
        assert chat.toasts() == ["2 messages follow the other version; alt+l shows them again."]
        chat.app.clear_notifications()
        await pilot.press("alt+l")
        await settle(pilot, chat)
        assert chat.toasts() == []
        assert len(chat.session.path) == 4


async def test_without_a_selection_older_and_newer_turn_the_same_message_until_something_is_said(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("an answer", "what follows", "ends")))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        await pilot.press("alt+h", *"more", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("ctrl+r")
        await reply_ended(pilot, chat)
        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("alt+l", *"more", "enter")
        await reply_ended(pilot, chat)
        chat.screen.transcript.select(None)
        newer = list(chat.session.path.ids)

        # The last message with versions on the newer branch is the first reply, on the older branch the last one.
        for _ in range(2):
            await pilot.press("alt+h")
            await settle(pilot, chat)
            assert said(chat)[1] == OLDER
            assert "alt+l shows them again" in chat.toasts()[-1]
            await pilot.press("alt+l")
            await settle(pilot, chat)
            assert chat.session.path.ids == newer
        await pilot.press("alt+h")
        await settle(pilot, chat)
        first, last = chat.session.path.ids[1], chat.session.path.ids[-1]
        chat.screen.transcript.select(last)
        await pilot.pause()
        chat.screen.transcript.select(None)
        await pilot.press("alt+h")
        await settle(pilot, chat)
        assert chat.session.path.ids[1] == first
        assert chat.session.path.ids[-1] != last, "after another selection it is the last one again"


async def test_a_version_longer_than_the_screen_is_shown_from_its_beginning(tmp_path: Path) -> None:
    long = "\n\n".join(f"line {number}" for number in range(60))
    chat = ChatApp(tmp_path, Script(replies=(long,)))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        assert "‹ 2/2 ›" not in on_screen(chat), "a reply is read from its end"
        await pilot.press("alt+h")
        await settle(pilot, chat)
        assert "‹ 1/2 ›" in on_screen(chat)


async def test_a_click_on_the_arrows_shows_another_version(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        for wanted, arrow, beside in ((OLDER, "‹", -2), (NEWER, "›", 2), (OLDER, "‹", 0), (NEWER, "›", 0)):
            lines = on_screen(chat).splitlines()
            y = next(y for y, line in enumerate(lines) if "‹ " in line and "/2 ›" in line)
            await pilot.click(offset=(lines[y].index(arrow) + beside, y))
            await settle(pilot, chat)
            assert said(chat) == ["count", wanted]
            assert chat.screen.transcript.selected is None


async def test_a_version_comes_with_its_continuation_which_the_model_gets(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        await pilot.press(*"more", "enter")
        await reply_ended(pilot, chat)
        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("alt+h")
        await settle(pilot, chat)
        assert said(chat) == ["count", OLDER]
        assert chat.screen.transcript.selected == chat.session.path[1].id
        await pilot.press("alt+l")
        await settle(pilot, chat)
        assert said(chat) == ["count", NEWER, "more", FOLLOWS]
        shown = [widget.view.text for widget in chat.screen.query(MessageWidget)]
        assert shown == said(chat)


async def test_the_draft_stays_and_the_version_is_on_screen_after_a_restart(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        await pilot.press(*"draft", "alt+h")
        await settle(pilot, chat)
        assert chat.screen.prompt.text == "draft"
        conversation = chat.store.latest()
        assert conversation is not None
        assert [each.content for each in chat.store.shown_path(conversation)] == ["count", OLDER]


async def test_while_a_reply_runs_another_version_is_refused_with_a_sentence(tmp_path: Path) -> None:
    gate = Gate()
    gate.open()
    chat = ChatApp(tmp_path, Script(replies=REPLIES, stepped=True), gate)
    async with running(chat) as pilot:
        await ask_twice(pilot, chat)
        gate.shut()
        await pilot.press(*"more", "enter")
        await settle(pilot, chat)
        chat.screen.transcript.select(chat.session.path[1].id)
        await pilot.press("alt+h")
        assert chat.toasts() == ["A reply is still running.\nPress Esc to stop it, then choose a version."]
        assert said(chat)[1] == NEWER
        gate.open()
        await reply_ended(pilot, chat)

        # A retry in the middle that is stopped before its first word leaves no trace: the prompt shows no running reply.
        before, words = said(chat), chat.screen.prompt.placeholder
        gate.shut()
        await pilot.press("ctrl+r")
        await settle(pilot, chat)
        await pilot.press("alt+h")
        assert chat.screen.prompt.placeholder != words
        await pilot.press("escape")
        await reply_ended(pilot, chat)
        assert said(chat) == before
        assert chat.screen.prompt.placeholder == words
        assert not any("still running" in toast for toast in chat.toasts())


async def test_a_single_version_is_reported(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=REPLIES))
    async with running(chat) as pilot:
        await pilot.press("alt+h")
        assert "There is no reply yet." in chat.toasts()
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("alt+h")
        assert "No message here has another version. /retry or an edit makes one." in chat.toasts()
