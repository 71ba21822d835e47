"""Saving from the app, and importing into it."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import Button, Input, Static

from tests.fakes import Script
from tests.storage.imports.foreign import Turn, chatgpt, write_json
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from tests.ui.shell_app import screen_text
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.imports import ImportProblem, ImportReport, ImportStopped
from ttchat_tui.storage.opening import open_scratch_store, open_store
from ttchat_tui.storage.search.index import index_file
from ttchat_tui.ui.screens.dialog import DialogBox
from ttchat_tui.ui.screens.import_files import ImportFiles
from ttchat_tui.ui.screens.save import SaveTranscript
from ttchat_tui.ui.widgets.choice_row import MarkedButton


def words_in(index: Path) -> int:
    """How many messages are indexed."""
    try:
        with closing(sqlite3.connect(f"{index.as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT count(*) FROM docs").fetchone()[0]
    except sqlite3.Error:
        return 0


async def test_an_import_is_tried_made_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttchat_tui.ui.screens.chat.FOLLOW_S", 3600.0)  # the list does not wait for that
    file = write_json([chatgpt(Turn("How?", Turn("So."))), {"id": 1}], tmp_path / "my export.json")
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.screen.prompt.text = f'/import "{file}"'
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(chat.app.screen, ImportFiles))
        await pilot.pause()
        hint = chat.app.screen.query_one(".hint", Static)
        await until(pilot, lambda: "1 conversation added, 1 skipped" in str(hint.render()))
        assert "my export.json, entry 2: it is not a conversation" in str(hint.render())
        assert "Nothing is changed yet. Enter imports it, with this result" in str(hint.render()), (
            "it is checked without a key"
        )
        assert chat.session.conversations() == []
        await pilot.click("#check")
        await until(pilot, lambda: "Enter imports" in str(hint.render()))
        await pilot.click("#import")
        await until(pilot, lambda: bool(chat.session.conversations()))
        await until(pilot, lambda: chat.app.screen is chat.screen)
        await settle(pilot, chat)
        assert any("1 conversation added, 1 skipped" in toast and "/log" in toast for toast in chat.toasts())
        await until(pilot, lambda: any("A talk" in line for line in screen_text(chat.app)))
        assert chat.session.search is not None
        index = index_file(chat.store._database.path)
        await until(pilot, lambda: words_in(index) == 2)
        chat.screen.prompt.text = f'/import "{file}"'
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(chat.app.screen, ImportFiles))
        await pilot.pause()
        button = chat.app.screen.query_one("#import")
        await until(pilot, lambda: button.disabled)  # it is all here already
        await pilot.press("x")
        await until(pilot, lambda: not button.disabled)


@pytest.mark.usefixtures("keys_while_a_thread_works")
@pytest.mark.parametrize("added", [0, 3])
async def test_escape_stops_an_import_and_reports_what_is_stored(tmp_path: Path, added: int) -> None:
    began = threading.Event()

    def endless(file: Path, report: object, is_dry_run: bool) -> ImportReport:
        assert callable(report)
        try:
            for done in range(2000):
                report(LoadProgress("read", done, 2000, "bytes", "x"))
                began.set()
                time.sleep(0.005)
        except ImportStopped:
            return ImportReport(added=added, is_stopped=True)
        return ImportReport(added=99)

    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        results: list[ImportReport | None] = []
        chat.app.push_screen(ImportFiles(endless), results.append)
        await pilot.pause()
        await pilot.press("x", "enter")
        await until(pilot, began.is_set)
        await pilot.press("escape")
        await until(pilot, lambda: bool(results))
        assert results == [ImportReport(added=added, is_stopped=True) if added else None]


async def test_the_buttons_stay_in_the_box_below_many_long_reasons(tmp_path: Path) -> None:
    problems = tuple(ImportProblem(f"export.json, entry {n}", "it is not valid " * 20) for n in range(9))
    chat = ChatApp(tmp_path)
    async with running(chat, size=(60, 20)) as pilot:
        dialog = ImportFiles(lambda *_: ImportReport(problems=problems, skipped=9), "x.json")
        await chat.app.push_screen(dialog)
        await until(pilot, lambda: "9 skipped" in str(dialog.query_one(".hint", Static).render()))
        await pilot.pause()
        box = dialog.query_one(DialogBox).region
        assert all(box.contains_region(button.region) for button in dialog.query(Button))


async def test_a_fault_of_a_reader_is_reported_and_the_app_goes_on(tmp_path: Path) -> None:
    def faulty(file: Path, report: object, is_dry_run: bool) -> ImportReport:
        raise KeyError("mapping")

    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.app.push_screen(ImportFiles(faulty, "x.json"))
        await pilot.pause()
        hint = chat.app.screen.query_one(".hint", Static)
        await until(pilot, lambda: "internal error (KeyError)" in str(hint.render()))
        await pilot.press("escape")
        assert chat.app.screen is chat.screen


@pytest.mark.usefixtures("keys_while_a_thread_works")
async def test_enter_during_the_check_imports_after_it(tmp_path: Path) -> None:
    began, go_on = threading.Event(), threading.Event()
    dry_runs: list[bool] = []

    def slow(file: Path, report: object, is_dry_run: bool) -> ImportReport:
        dry_runs.append(is_dry_run)
        began.set()
        go_on.wait(20)
        return ImportReport(added=1)

    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        results: list[ImportReport | None] = []
        chat.app.push_screen(ImportFiles(slow, "x.json"), results.append)
        await until(pilot, began.is_set)
        await pilot.press("enter")
        go_on.set()
        await until(pilot, lambda: bool(results))
        assert (dry_runs, results) == ([True, False], [ImportReport(added=1)])


@pytest.mark.usefixtures("keys_while_a_thread_works")
async def test_quitting_stops_an_import(tmp_path: Path) -> None:
    began, stopped = threading.Event(), threading.Event()

    def endless(file: Path, report: object, is_dry_run: bool) -> ImportReport:
        assert callable(report)
        try:
            for done in range(2000):
                report(LoadProgress("read", done, 0, "bytes", "x"))
                began.set()
                stopped.wait(0.01)
        except Exception:
            stopped.set()
            raise
        return ImportReport(added=1)

    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        chat.app.push_screen(ImportFiles(endless, "x.json"))
        await until(pilot, began.is_set)
    assert stopped.wait(5)


async def test_an_import_needs_a_database_that_keeps_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, store=open_scratch_store())
    async with running(chat) as pilot:
        await pilot.press(*"/import", "enter")
        await settle(pilot, chat)
        assert any("Nothing can be imported" in toast and "--no-save" in toast for toast in chat.toasts())


async def test_an_import_into_a_damaged_database_names_the_cure(tmp_path: Path) -> None:
    path = tmp_path / "damaged.db"
    path.write_bytes(b"no database" * 1000)
    chat = ChatApp(tmp_path, store=open_store(path))
    async with running(chat) as pilot:
        await pilot.press(*"/import", "enter")
        await settle(pilot, chat)
        assert any("Nothing can be imported" in toast and "repair" in toast for toast in chat.toasts())


async def test_the_selected_message_its_code_and_every_branch_are_saved(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("So:\n\n```python\nx = 1\n```",)))
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        await pilot.press("ctrl+r")
        await reply_ended(pilot, chat)
        for part, name in (("message", "m.jsonl"), ("code", "c.py"), ("all", "a.jsonl"), ("all", "a.json")):
            chat.screen.action_save()
            await until(pilot, lambda: isinstance(chat.app.screen, SaveTranscript))
            await pilot.pause()
            buttons = {each.name: each for each in chat.app.screen.query(MarkedButton)}
            buttons[part].value = True
            if part != "code":
                buttons[name.partition(".")[2]].value = True
            buttons["recorded"].value = name == "a.json"
            await pilot.pause()
            assert chat.app.screen.query_one("#recordings").display == (name == "a.json")
            chat.app.screen.query_one(Input).value = str(tmp_path / name)
            await pilot.press("enter")
            await until(pilot, lambda: chat.app.screen is chat.screen)
        assert json.loads((tmp_path / "m.jsonl").read_text())["messages"][0]["content"].startswith("So")
        assert (tmp_path / "c.py").read_text() == "x = 1\n"
        chat.screen._save("markdown", tmp_path, "code")
        assert (tmp_path / "hi.py").read_text() == "x = 1\n", "a folder gets a file named after the title"
        assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2
        chat.screen.command_save(f"--trace {tmp_path / 'b.json'}")
        for name in ("a.json", "b.json"):
            toast = f"Saved to {tmp_path / name}\nRecorded replies in it: 2."
            await until(pilot, lambda toast=toast: toast in chat.toasts())
            recordings = json.loads((tmp_path / name).read_text())["recordings"]
            assert len(recordings) == 2
            assert all(each["tokens"] for each in recordings)
        chat.screen.command_save(f"--trace {tmp_path / 'b.md'}")
        toast = f".md files have no recordings.\nJSON has them: /save --trace {tmp_path / 'b.json'}"
        await until(pilot, lambda: toast in chat.toasts())
        assert not (tmp_path / "b.md").exists()
        chat.screen.command_save(f"--trace {tmp_path / 'd'}")
        await until(pilot, lambda: any(f"Saved to {tmp_path / 'd.json'}" in each for each in chat.toasts()))
        chat.screen.command_save(f"--trace {tmp_path / 'new' / 't.trace'}")
        new = f"Saved to {tmp_path / 'new' / 't.trace'}, in a new folder: {tmp_path / 'new'}"
        await until(pilot, lambda: f"{new}\nRecorded replies in it: 1." in chat.toasts())
        events = json.loads((tmp_path / "new" / "t.trace").read_text())["traceEvents"]
        assert any("token" in each["args"] for each in events)
        copied: list[str] = []
        chat.screen.copy = copied.append  # type: ignore[method-assign]
        await pilot.press("ctrl+up", "ctrl+shift+up", "f8")
        assert copied == ["## You\n\nhi\n\n## Assistant (scripted)\n\nSo:\n\n```python\nx = 1\n```\n"]
        chat.screen.action_save()
        await until(pilot, lambda: isinstance(chat.app.screen, SaveTranscript))
        await pilot.pause()
        assert "2 messages" in "\n".join(screen_text(chat.app))
        await pilot.press("escape")
        chat.screen._save("jsonl", tmp_path / "two.jsonl", "message")
        roles = [each["role"] for each in json.loads((tmp_path / "two.jsonl").read_text())["messages"]]
        assert roles == ["user", "assistant"]
        await pilot.press("escape")
        assert chat.screen.transcript.selected_keys == []
