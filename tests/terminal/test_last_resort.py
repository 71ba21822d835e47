"""An app that is stuck ends within seconds of its terminal, and keeps what was said."""

from __future__ import annotations

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.engine.served.scripted_server import ScriptedServer, StreamGate, serving
from tests.engine.served.shapes import MODEL, VLLM
from tests.fakes import Script
from tests.terminal.pty_app import NO_MODEL, App, is_restored
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(120)]

LAUNCHER = """
import time
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen

def loops(*_):
    while True:
        pass

def waits(*_):
    time.sleep(3600)

def catches_everything(*_):
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass

def fails(*_):
    raise AttributeError("a name that Textual uses")

{patch}
from ttchat_tui.cli import main
main()
"""

STUCK = "ChatScreen.action_help = {how}"
BROKEN = "TtchatApp._leave = {how}"


def app_that(patch: str, how: str, folder: Path, **environ: str) -> App:
    script = LAUNCHER.format(patch=patch.format(how=how))
    return App(folder, program=("-c", script), **(environ or NO_MODEL))


@pytest.mark.parametrize(
    ("patch", "how"),
    [(STUCK, "loops"), (STUCK, "waits"), (STUCK, "catches_everything"), (BROKEN, "fails")],
    ids=["loop", "wait", "catch", "broken"],
)
def test_a_stuck_app_ends_when_it_is_asked_to(tmp_path: Path, patch: str, how: str) -> None:
    with closing(app_that(patch, how, tmp_path)) as app:
        app.until("Write a message")
        app.until("ctrl+p")
        app.type("\x1bOP")  # F1
        if patch == STUCK:
            app.read(0.5)
        app.kill(signal.SIGHUP)
        assert app.until_end() == 128 + signal.SIGHUP
        if how != "catches_everything":  # then nothing of Python's runs any more
            assert is_restored(bytes(app.received))
            assert b"Traceback" not in app.received
            assert b"ended by SIGHUP" in app.received


def test_a_stuck_app_whose_terminal_has_gone_ends_and_keeps_the_reply(tmp_path: Path) -> None:
    gate = StreamGate()
    with serving(ScriptedServer(VLLM, Script(replies=("one two three four",), stepped=True), gate)) as server:
        environ = {"TTCHAT_ENGINE": "remote", "TTCHAT_MODEL": MODEL, "OPENAI_BASE_URL": server.base_url}
        with closing(app_that(STUCK, "waits", tmp_path, **environ)) as app:
            app.until("● ready")
            app.type("count\r")
            gate.release(1)
            app.until("one")
            app.type("\x1bOP")
            gate.open()
            app.read(0.5)
            os.close(app.process.fd)
            app.process.closed = True
            assert app.process.wait() == 128 + signal.SIGHUP
    with closing(open_store(tmp_path / "data" / "conversations.db")) as store:
        (conversation,) = store.conversations()
        said = [(each.content, each.status) for each in store.shown_path(conversation)]
    assert said[0] == ("count", "complete")
    assert said[1][0].startswith("one")
    assert said[1][1] in ("complete", "interrupted")
