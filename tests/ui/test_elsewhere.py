"""Replies in conversations that are not on screen: marks, toasts, reopening, and queued messages."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, paths_in, running, settle, until
from tests.ui.shell_app import screen_text
from ttchat_tui.config.schema import Config, StorageSettings
from ttchat_tui.domain.conversation import ReplyRecord
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui.commands import BY_NAME
from ttchat_tui.ui.screens.elsewhere import UNANSWERED
from ttchat_tui.ui.widgets.history.row_line import SIGNS


def shown(chat: ChatApp) -> str:
    return "\n".join(strip.text for strip in chat.screen._compositor.render_strips())


async def leave_a_reply(pilot: Pilot[None], chat: ChatApp, gate: Gate) -> None:
    """Leave a reply in `count` after its first word, with a new conversation on screen."""
    await pilot.press(*"count", "enter")
    gate.release()
    await until(pilot, lambda: "one" in shown(chat))
    await pilot.press("ctrl+n")
    await settle(pilot, chat)


async def test_the_list_and_the_status_line_show_where_a_reply_runs(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat) as pilot:
        await leave_a_reply(pilot, chat, gate)
        text = shown(chat)
        assert "count" in text
        assert SIGNS["running"][0] in next(line for line in text.splitlines() if "count" in line)
        assert "in “count”" in text
        assert not chat.screen.prompt.has_class("-busy")
        gate.open()
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        assert "The reply in “count” is complete." in chat.toasts()
        assert "✓" in shown(chat)
        assert "in “count”" not in shown(chat)
        await pilot.press("alt+down")
        await settle(pilot, chat)
        assert "one two three" in shown(chat)
        assert "✓" not in shown(chat)

        other = open_store(chat.paths.database)
        other.add_user_message(other.create_conversation(title="another window").id, None, "Hi")
        other.close()
        chat.screen.follow_history()
        await until(pilot, lambda: "another window" in shown(chat))


@pytest.mark.parametrize("keys", [(*"more", "enter"), ("ctrl+r",), (*"/continue", "enter")])
async def test_the_open_conversation_is_marked_in_every_turn(tmp_path: Path, keys: tuple[str, ...]) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat) as pilot:
        await pilot.press(*"count", "enter")
        gate.release()
        await until(pilot, lambda: "one" in shown(chat))
        await pilot.press("escape")
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        row = next(line[:30] for line in shown(chat).splitlines() if "▌ count" in line)
        assert SIGNS["running"][0] not in row
        await pilot.press(*keys)
        await until(pilot, lambda: chat.session.is_busy)
        await pilot.pause()
        row = next(line[:30] for line in shown(chat).splitlines() if "▌ count" in line)
        assert SIGNS["running"][0] in row


async def test_coming_back_the_reply_streams_on_and_escape_stops_it(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three four",), stepped=True), gate)
    async with running(chat) as pilot:
        await leave_a_reply(pilot, chat, gate)
        gate.release()
        await pilot.press("alt+down")
        await until(pilot, lambda: "one two" in shown(chat))
        assert chat.screen.prompt.has_class("-busy")
        gate.release()
        await until(pilot, lambda: "one two three" in shown(chat))
        await pilot.press("escape")
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        assert chat.session.path[-1].content == "one two three"
        assert "stopped" in shown(chat)


async def test_stop_names_the_conversation_elsewhere_in_which_a_reply_runs(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat) as pilot:
        await leave_a_reply(pilot, chat, gate)
        for keys in (("escape",), (*"/stop", "enter")):
            chat.app.clear_notifications()
            await pilot.press(*keys)
            await settle(pilot, chat)
            assert "A reply is still running in “count”. Open it to stop the reply." in chat.toasts(), keys
            assert chat.session.is_busy


async def test_a_message_without_a_reply_has_a_note_when_reopened(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    made = chat.store.create_conversation()
    chat.store.add_user_message(made.id, None, "Anybody?")
    async with running(chat) as pilot:
        chat.screen.open_conversation(made.id)
        await settle(pilot, chat)
        assert UNANSWERED in shown(chat)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not chat.session.is_busy)
        assert len(chat.session.path) == 2


async def test_ctrl_q_quits_at_once_and_keeps_the_text_so_far(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat) as pilot:
        await leave_a_reply(pilot, chat, gate)
        assert chat.session.running is not None
        reply = chat.session.running.message.id
        await pilot.press("ctrl+q")
        chat.session.close()
        assert (chat.store.message(reply).content, chat.store.message(reply).status) == ("one", "interrupted")


async def test_the_figures_are_those_of_the_conversation_on_screen(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two three",), stepped=True), gate)
    async with running(chat) as pilot:
        await leave_a_reply(pilot, chat, gate)
        assert chat.screen.metrics.sample().completion_tokens is None
        await pilot.press("alt+down")
        await settle(pilot, chat)
        assert chat.screen.metrics.sample().completion_tokens == 1


async def test_the_context_and_the_cost_are_those_of_the_conversation_on_screen(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True), gate)
    async with running(chat) as pilot:
        gate.open()
        await pilot.press(*"a first and rather long question", "enter")
        await until(pilot, lambda: len(chat.session.path) == 2 and not chat.session.is_busy)
        await settle(pilot, chat)
        reply = chat.session.path[-1].reply
        assert reply is not None
        assert reply.stats is not None
        first = reply.stats.prompt_tokens + reply.stats.completion_tokens
        await pilot.press("ctrl+n")
        gate.shut()
        await pilot.press(*"two", "enter")
        await until(pilot, lambda: chat.session.is_answering)
        gate.release(1)
        chat.screen.prompt.set_token_hint("77 / 256 tok")
        await pilot.press("alt+down")
        await settle(pilot, chat)
        assert chat.session.is_busy
        assert not chat.session.is_answering
        contexts = re.findall(r"(\d+) / 256", shown(chat))
        assert contexts == [str(first)] * 2, "status line and metrics; the prompt has no draft"
        gate.open()
        await until(pilot, lambda: not chat.session.is_busy)


async def test_a_time_stamp_beyond_all_calendars_does_not_prevent_the_start(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    made = chat.store.create_conversation(title="From the future")
    chat.store.add_user_message(made.id, None, "Hello")
    with chat.store._database.transaction() as transaction:
        transaction.execute("UPDATE conversations SET updated_at = 1e15, created_at = -1e15, sampling = '['")
        transaction.execute("UPDATE messages SET created_at = 'soon'")
    async with running(chat) as pilot:
        assert any("From the future" in line for line in screen_text(pilot.app))


async def test_undo_works_repeatedly_after_a_restart_and_reports_when_nothing_is_left(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    for text in ("one", "two"):
        made = chat.store.create_conversation()
        chat.store.add_user_message(made.id, None, text)
        chat.store.delete(made.id)
    async with running(chat) as pilot:
        for text in ("two", "one"):
            await pilot.press(*"/undo", "enter")
            await settle(pilot, chat)
            assert f"“{text}” is back." in chat.toasts()[-1]
            assert chat.session.path[0].content == "two", "what is being read stays on screen"
        await pilot.press(*"/undo", "enter")
        await settle(pilot, chat)
        assert any("no deleted conversation" in toast for toast in chat.toasts())


SAVED: tuple[tuple[str, str, str | None], ...] = (
    ("x.pdf", "Known suffixes: .md, .markdown, .json, .jsonl, .html, .txt", None),
    ("dir/noext", "in a new folder: ", "dir/noext.md"),
    ("dir/", "in a new folder: ", "dir/hi.md"),
    ("x.json", "Saved to ", "x.json"),
    ('"my notes.md"', "Saved to ", "my notes.md"),
    ("'my notes'", "Saved to ", "my notes.md"),
    ("v1.2", "For example: v1.md", None),
)
"""What is typed, a part of the toast, and the file that is there afterwards."""


async def test_save_explains_how_it_treats_a_name(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    config = Config(storage=StorageSettings(exports_dir=str(exports)))
    chat = ChatApp(tmp_path, Script(replies=("Hello.",)), config=config)
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await until(pilot, lambda: not chat.session.is_busy)
        for typed, said, file in SAVED:
            exports.mkdir()
            chat.app.clear_notifications()
            await chat.screen.run_command(BY_NAME["save"], typed)
            await settle(pilot, chat)
            assert any(said in toast for toast in chat.toasts()), (typed, chat.toasts())
            found = [path for path in exports.rglob("*") if path.is_file()]
            assert found == ([exports / file] if file else []), typed
            shutil.rmtree(exports)


def test_marks_have_signs_of_one_cell() -> None:
    assert all(cell_len(sign) == 1 for sign in SIGNS.values())


async def test_the_conversation_of_an_interrupted_reply_is_named_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(paths_in(tmp_path).database)
    conversation = store.create_conversation(model="scripted", system_prompt="", sampling=None)
    asked = store.add_user_message(conversation.id, None, "Name three cats.")
    record = ReplyRecord(model="scripted", engine="", sampling=SamplingParams(), seed=1)
    store.begin_reply(conversation.id, asked.id, record)
    monkeypatch.setattr("ttchat_tui.storage.messages.has_writer_ended", lambda writer, silent_s: True)
    chat = ChatApp(tmp_path, store=store)
    async with running(chat):
        assert any("while a reply was running in “Name three cats.”" in toast for toast in chat.toasts())
