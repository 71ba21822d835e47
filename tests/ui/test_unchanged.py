"""A dialog or field that edits something: confirmed without a change, it writes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, running, settle, until
from ttchat_tui.ui.screens.edit_queued import EditQueued
from ttchat_tui.ui.screens.inspector import InspectorScreen
from ttchat_tui.ui.screens.ledger import LedgerDialog, SummaryDialog
from ttchat_tui.ui.screens.rename import NameBranch, Rename
from ttchat_tui.ui.screens.rest_of_reply import RestOfReply
from ttchat_tui.ui.screens.tags import TagDialog
from ttchat_tui.ui.screens.tree import TreeScreen

Open = Callable[[Pilot[None], ChatApp], Awaitable[None]]


async def shown(pilot: Pilot[None], chat: ChatApp, screen: type) -> None:
    await until(pilot, lambda: isinstance(chat.app.screen, screen))
    await pilot.pause()


async def own_message(pilot: Pilot[None], chat: ChatApp) -> None:
    await pilot.press("alt+e")
    assert chat.screen.is_editing


async def reply(pilot: Pilot[None], chat: ChatApp) -> None:
    chat.screen.transcript.select(chat.session.path.ids[-1])
    await own_message(pilot, chat)


async def rest_of_a_reply(pilot: Pilot[None], chat: ChatApp) -> None:
    await pilot.press("f6")
    await shown(pilot, chat, InspectorScreen)
    await until(pilot, lambda: chat.app.focused is not None)
    await pilot.press("right", "e")
    await shown(pilot, chat, RestOfReply)


async def title(pilot: Pilot[None], chat: ChatApp) -> None:
    await pilot.press("f2")
    await shown(pilot, chat, Rename)
    assert chat.app.screen.query_one(Input).value


async def tags(pilot: Pilot[None], chat: ChatApp) -> None:
    chat.screen.command_tags("work")
    await pilot.press("alt+g")
    await shown(pilot, chat, TagDialog)


async def name_of_a_branch(pilot: Pilot[None], chat: ChatApp) -> None:
    chat.session.branching.name(chat.session.path.ids[-1], "mine")
    await pilot.press("alt+t")
    await shown(pilot, chat, TreeScreen)
    await pilot.press("f2")
    await shown(pilot, chat, NameBranch)
    assert chat.app.screen.query_one(Input).value == "mine"


async def summary(pilot: Pilot[None], chat: ChatApp) -> None:
    chat.session.context.set_summary(chat.session.path.ids[1], "They met.")
    await pilot.press("alt+c")
    await shown(pilot, chat, LedgerDialog)
    await pilot.press("home", "enter")
    await shown(pilot, chat, SummaryDialog)


async def waiting_message(pilot: Pilot[None], chat: ChatApp) -> None:
    await pilot.press("alt+q", "e")
    await shown(pilot, chat, EditQueued)


async def system_prompt(pilot: Pilot[None], chat: ChatApp) -> None:
    chat.session.set_system_prompt("Be brief.")
    chat.screen._refresh_settings()
    await pilot.press("f5")
    await settle(pilot, chat)


PLACES: dict[Open, str] = {
    own_message: "enter",
    reply: "enter",
    rest_of_a_reply: "enter",
    title: "enter",
    tags: "enter",
    name_of_a_branch: "enter",
    summary: "ctrl+s",
    waiting_message: "enter",
    system_prompt: "f5",
}
"""What opens each place with something to edit in it, and the key that confirms."""


def writes(chat: ChatApp) -> list[str]:
    """The statements that change the database from now on, as they come. Drafts are stored whenever they are shown."""
    found: list[str] = []

    def note(sql: str) -> None:
        is_of_draft = "app_state" in sql or "SET draft" in sql
        if sql.lstrip().startswith(("INSERT", "UPDATE", "DELETE", "REPLACE")) and not is_of_draft:
            found.append(sql)

    chat.store._database._connection.set_trace_callback(note)
    return found


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_confirmed_without_a_change_it_writes_nothing(tmp_path: Path, place: Open) -> None:
    gate = Gate()
    gate.open()
    chat = ChatApp(tmp_path, Script(replies=("One two three.",), logprobs=True, stepped=True), gate)
    async with running(chat, (120, 40)) as pilot:
        for text in ("one", "two"):
            chat.screen.show_updates(chat.session.submit(text))
            await until(pilot, lambda: not chat.session.is_busy)
        if place is waiting_message:
            gate.shut()
            for text in ("runs", "waits"):
                chat.screen.show_updates(chat.session.submit(text))
        await settle(pilot, chat)
        await place(pilot, chat)
        found = writes(chat)
        await pilot.press(PLACES[place])
        await settle(pilot, chat)
        assert found == []
        assert not chat.screen.is_editing
        assert not isinstance(chat.app.screen, Rename | TagDialog | SummaryDialog | EditQueued | RestOfReply)
        gate.open()
