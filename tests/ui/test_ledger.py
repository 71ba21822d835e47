"""The context ledger on screen: it opens by itself once, never over what is being typed, and its keys decide what is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot
from textual.widgets import TextArea

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.shell_app import screen_text
from ttchat_tui.domain.ledger import LedgerRow
from ttchat_tui.session import ledger_rows
from ttchat_tui.storage.errors import not_found
from ttchat_tui.ui.screens.ledger import LedgerDialog, SummaryDialog
from ttchat_tui.ui.widgets.ledger_rows import LedgerRows, pieces_of


async def say(pilot: Pilot[None], chat: ChatApp, text: str) -> None:
    chat.screen.show_updates(chat.session.submit(text))
    await reply_ended(pilot, chat)
    await counted(pilot, chat)


async def counted(pilot: Pilot[None], chat: ChatApp) -> None:
    await until(pilot, lambda: chat.session.context._counted is not None)
    for _ in range(3):
        await settle(pilot, chat)


async def test_it_opens_by_itself_once_and_gives_letters_to_the_prompt(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("word " * 18,), context_length=60))
    async with running(chat) as pilot:
        await say(pilot, chat, "a b")
        assert chat.app.screen is chat.screen, "not half full yet"
        await say(pilot, chat, "c d")
        await until(pilot, lambda: isinstance(chat.app.screen, LedgerDialog))
        await pilot.press("p")
        await pilot.press(*"ush")
        assert chat.app.screen is chat.screen
        assert chat.screen.prompt.text == "push"
        assert {message.context for message in chat.session.path} == {""}
        chat.screen.prompt.set_draft("")
        await say(pilot, chat, "e f")
        assert chat.app.screen is chat.screen, "once for each conversation"

        await pilot.press("ctrl+n")
        await say(pilot, chat, "a b")
        await pilot.press(*"x y")
        await say(pilot, chat, "c d")
        await until(
            pilot, lambda: any("alt+c shows what the context holds" in toast for toast in chat.toasts())
        )
        assert chat.app.screen is chat.screen
        assert chat.screen.prompt.text == "x y"

        await pilot.press("alt+c")
        await pilot.pause()
        assert isinstance(chat.app.screen, LedgerDialog)


async def test_while_a_reply_runs_what_was_sent_is_no_draft_any_more(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(stepped=True), gate)
    async with running(chat) as pilot:
        chat.screen.prompt.set_draft("a b")
        chat.screen.count()
        assert [row.text for row in chat.session.context.ledger().rows] == ["a b"]
        await counted(pilot, chat)
        await pilot.press("enter")
        await until(pilot, lambda: chat.session.is_answering)
        await pilot.press("alt+c")
        await until(pilot, lambda: "tok at the last count" in "\n".join(screen_text(chat.app)))
        await pilot.press("escape")
        chat.screen.count()  # after a pause in typing
        assert [row.text for row in chat.session.context.ledger().rows] == ["a b", ""]
        await pilot.press("c")
        chat.screen.count()
        assert [row.text for row in chat.session.context.ledger().rows] == ["a b", "c"]
        gate.open()
        await reply_ended(pilot, chat)


def refuse(*_: object) -> None:
    raise not_found("This message")


async def test_its_keys_pin_leave_out_summarise_and_go_to_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("one two",), context_length=200))
    long = "long " * 50
    async with running(chat) as pilot:
        for text in ("a", "b", "c"):
            await say(pilot, chat, long + text)
        if chat.app.screen is not chat.screen:
            await pilot.press("escape")
        first, reply, second, *_ = (message.id for message in chat.session.path)
        await pilot.press("alt+c", "home", "k")
        await settle(pilot, chat)
        assert chat.session.path[0].context == "kept"
        await pilot.press("k", "down", "down", "x")
        await settle(pilot, chat)
        assert [message.context for message in chat.session.path[:3]] == ["", "", "left out"]
        await pilot.click(LedgerRows, offset=(5, 0))
        assert isinstance(chat.app.screen, LedgerDialog), "a click only moves the cursor"
        await pilot.click(LedgerRows, offset=(5, 2))
        await pilot.click(LedgerRows, offset=(5, 2))
        await pilot.pause()
        assert chat.app.screen is chat.screen
        assert chat.screen.transcript.selected == second
        assert chat.screen.transcript._widgets[second].has_class("-unsent")
        await pilot.press("alt+minus")
        assert not chat.screen.transcript._widgets[second].has_class("-unsent")
        await pilot.press("alt+u")
        assert chat.session.path[2].context == "kept"
        assert not chat.screen.transcript._widgets[second].has_class("-unsent")
        await pilot.press("alt+u", "escape")

        # The chat's keys are for the row under the cursor.
        await pilot.press("alt+c", "home", "alt+u")
        await settle(pilot, chat)
        assert chat.session.path[0].context == "kept"
        await pilot.press("alt+u", "alt+j", "alt+j", "alt+e")
        await pilot.pause()
        assert chat.screen.prompt.text == long + "b"
        await pilot.press("escape", "alt+c", "alt+c")
        assert chat.app.screen is chat.screen

        await pilot.press("alt+c", "home", "down", "s")
        await until(pilot, lambda: isinstance(chat.app.screen, SummaryDialog))
        assert chat.app.screen.query_one(TextArea).text == "one two"
        with monkeypatch.context() as broken:
            broken.setattr(chat.store.context, "set_summary", refuse)
            await pilot.press(*"So ", "ctrl+s")
            await pilot.pause()
            assert chat.app.screen.query_one(TextArea).text == "So one two", "what was typed is not lost"
        await pilot.press("ctrl+s")
        await settle(pilot, chat)
        assert chat.session.context.summary is not None
        assert chat.session.context.summary.text == "So one two"
        assert chat.session.context.marks() == {first: "summarised", reply: "summarised to here"}
        await pilot.press("home", "delete")
        assert chat.session.context.marks() == {}
        await pilot.press("escape")
        await pilot.press("escape")
        await pilot.press("alt+minus")
        assert any("Select a message first" in toast for toast in chat.toasts())


ROWS = [
    LedgerRow(
        kind="message", message_id=1, text="a\x1b[31m\nb 漢字" * 40, tokens=1_234_567, fate="falls out"
    ),
    LedgerRow(kind="message", message_id=2, role="assistant", text="", fate="summarised"),
    LedgerRow(kind="draft", text="", tokens=0),
    LedgerRow(kind="summary", role="system", text="[b]so far[/b]", tokens=12, is_kept=True),
]


@pytest.mark.parametrize("width", [30, 48, 69, 70, 104])
def test_a_row_has_the_width_and_no_control_bytes(width: int) -> None:
    for row in ROWS:
        for is_estimate in (False, True):
            text = "".join(piece.text for piece in pieces_of(row, width, 1_234_567, is_estimate))
            assert cell_len(text) == width
            assert not any(ord(char) < 32 for char in text)
            assert ("~" in text) == (is_estimate and row.tokens is not None)


async def test_the_rows_of_a_long_conversation_are_made_when_they_come_into_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def row(**fields: Any) -> LedgerRow:
        made.append(fields["message_id"])
        return LedgerRow(**fields)

    monkeypatch.setattr(ledger_rows, "LedgerRow", row)
    chat = ChatApp(tmp_path)
    home, ids = chat.store.create_conversation(), list[int]()
    for number in range(200):
        ids.append(chat.store.add_user_message(home.id, ids[-1] if ids else None, f"note {number}").id)
    chat.store.context.set_mark([ids[100]], "left out")
    async with running(chat, (80, 24)) as pilot:
        chat.screen.open_conversation(home.id)
        await settle(pilot, chat)
        await pilot.press("alt+c")
        await until(pilot, lambda: "note 199" in "\n".join(screen_text(chat.app)))
        assert set(made) <= {*ids[-20:], *ids[:20]}
        await pilot.press("home")
        await until(pilot, lambda: "note 0 " in "\n".join(screen_text(chat.app)))
        assert set(made) <= {*ids[-20:], *ids[:20]}
