"""A day's work with the keyboard alone, in a real terminal: nothing that was said is lost, whatever happens."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engine.served.scripted_server import ScriptedServer, StreamGate, serving
from tests.engine.served.shapes import CONTEXT, MODEL, VLLM
from tests.fakes import Script
from tests.patience import Patience
from tests.storage.imports.foreign import Turn, chatgpt, write_json
from tests.terminal.pty_app import PtyApp, is_restored
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(240)]

ENTER, ESCAPE = "\r", "\x1b"
RETRY, NEW, QUIT, SAVE = "\x12", "\x0e", "\x11", "\x13"
OLDER, NEWER, SEARCH, FIND = "\x1bh", "\x1bl", "\x1bs", "\x1b/"
CONVERSATION_BELOW, CONVERSATION_ABOVE = "\x1b[1;3B", "\x1b[1;3A"

REPLY = "A pendulum swings evenly and an anchor lets one tooth of the wheel pass at each swing."
ENDED = "TTFT"
"""In the figures under a reply that has ended."""
CLOCKS, BREAD = "How do clocks tick?", "What is in bread?"


class Day:
    """The app over a served model whose tokens pass `gate`."""

    def __init__(self, folder: Path, server: ScriptedServer, gate: StreamGate) -> None:
        self.folder = folder
        self.gate = gate
        self._environ: dict[str, Any] = {
            "TTCHAT_ENGINE": "remote",
            "TTCHAT_MODEL": MODEL,
            "OPENAI_BASE_URL": server.base_url,
        }
        self.app = self._started()

    def _started(self, *flags: str) -> PtyApp:
        app = PtyApp(self.folder, *flags, size=(100, 30), is_forked=bool(flags), **self._environ)
        app.until("● ready")
        return app

    def restart(self, *flags: str) -> None:
        self.app.close()
        self.app = self._started(*flags)

    def type(self, text: str, wanted: str, *, gone: str = "") -> None:
        self.app.type(text)
        self.app.until(lambda screen: wanted in screen and not (gone and gone in screen))

    def until_ended(self) -> None:
        """Wait until no reply runs. The database says so: the screen may be read in the middle of a frame, with the figures of
        the reply before."""
        patience = Patience(30.0)
        while "streaming" in self._statuses():
            assert self.app.read(0.05)
            assert not patience.is_out(), self.app.text()
        self.app.until(ENDED)

    def _statuses(self) -> set[str]:
        with closing(sqlite3.connect(self.folder / "data" / "conversations.db")) as database:
            return {status for (status,) in database.execute("SELECT status FROM messages")}

    def open(self, keys: str, question: str) -> None:
        """Type `keys`, which open the conversation that begins with this question and has it as its title."""
        self.app.type(keys)
        self.app.until(lambda screen: screen.count(question) == 2)

    def until_kept(self, question: str, text: str) -> None:
        """Wait until the reply to `question` has `text` on disk."""
        patience = Patience(30.0)
        while not any(question in said and text in said[-1] for said in self.said().values()):
            assert self.app.read(0.05)
            assert not patience.is_out(), self.said()

    def said(self) -> dict[str, list[str]]:
        """What each conversation says on its open branch, by its title."""
        store = open_store(self.folder / "data" / "conversations.db")
        try:
            return {
                each.title: [message.content for message in store.shown_path(each)]
                for each in store.conversations()
            }
        finally:
            store.close()


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    gate = StreamGate()
    script = Script(replies=(REPLY,), stepped=True, context_length=CONTEXT, batch_sizes=(1,))
    with serving(ScriptedServer(VLLM, script, gate)) as server:
        made = Day(tmp_path, server, gate)
        try:
            yield made
        finally:
            gate.open()
            made.app.close()


def test_a_day_of_work_with_the_keyboard_alone(day: Day, tmp_path: Path) -> None:
    # A question; its answer is stopped, continued, asked for again, and the versions are turned.
    day.gate.release(4)
    day.type(f"{CLOCKS}{ENTER}", "A pendulum swings evenly")
    day.type(ESCAPE, "stopped", gone="generating")
    day.gate.open()
    day.type(f"/continue{ENTER}", ENDED, gone="stopped")
    day.until_ended()
    day.type(RETRY, "‹ 2/2 ›")
    day.until_ended()
    day.type(OLDER, "‹ 1/2 ›")
    day.type(NEWER, "‹ 2/2 ›")

    # A second conversation; from there the first is found again, and a word in it.
    day.type(NEW, "Type a message")
    day.open(f"{BREAD}{ENTER}", BREAD)
    day.until_ended()
    day.type(SEARCH, "Search everything said")
    day.type("tick", "1 found")
    day.open(ENTER, CLOCKS)
    day.type(ESCAPE, "● ready", gone="1 of 1 message")
    day.type(f"{FIND}tooth", "1 of 1 message")
    day.type(ESCAPE, "● ready", gone="1 of 1 message")
    day.open(CONVERSATION_ABOVE, BREAD)

    # Renamed, deleted and brought back.
    day.type(f"/rename Baking{ENTER}", "▌ Baking")
    day.type(f"/delete{ENTER}", "/undo", gone="▌ Baking")
    day.type(f"/undo{ENTER}", "▌ Baking")

    # Out to a file, and in from another program's.
    day.type(f"/save {tmp_path}/bread.json{ENTER}", "Saved to")
    assert json.loads((tmp_path / "bread.json").read_text())["conversation"]["title"] == "Baking"
    write_json([chatgpt(Turn("Imported?", Turn("Yes.")))], tmp_path / "chatgpt.json")
    day.type(f"/import {tmp_path}/chatgpt.json{ENTER}", "Import conversations")
    day.type(ENTER, "1 conversation added", gone="Import conversations")

    # The app is killed in the middle of a reply. What came until then is there, and is continued.
    day.gate.shut()
    day.gate.release(3)
    day.type(f"And rye?{ENTER}", "● generating")
    day.app.until(lambda screen: screen.count("A pendulum swings") == 2)
    day.until_kept("And rye?", "A pendulum swings")
    day.app.kill(signal.SIGKILL)
    day.app.until_end()
    day.gate.open()
    day.restart("--continue")
    day.app.until("interrupted")
    day.app.type(f"/continue{ENTER}")
    day.app.until(lambda screen: screen.count(ENDED) == 2)
    day.app.type(QUIT)
    assert day.app.until_end() == 0
    assert is_restored(bytes(day.app.received))

    said = day.said()
    assert said["A talk"] == ["Imported?", "Yes."]
    assert [said["Baking"][0], said["Baking"][2]] == [BREAD, "And rye?"]
    assert said["Baking"][3].startswith("A pendulum swings")
    assert said[CLOCKS][1].startswith(REPLY)
