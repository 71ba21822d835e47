"""An app that is stuck ends within seconds of its terminal, and keeps what was said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engine.served.scripted_server import ScriptedServer, StreamGate, serving
from tests.engine.served.shapes import MODEL, VLLM
from tests.fakes import Script
from tests.size import IS_NIGHTLY, sized
from tests.terminal.pty_app import NO_MODEL, PtyApp, is_restored
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(120)]

STUCK = """
import signal, sys, time
from ttchat_tui.ui import last_resort

def loops():
    while True:
        pass

def waits():
    time.sleep(3600)

def catches_everything():
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            pass

last_resort.GRACE_S = last_resort.AGAIN_S = 0.05
try:
    with last_resort.LastResort() as resort:
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, lambda number, frame: resort.ask(number))
        print("ready", flush=True)
        globals()[sys.argv[1]]()
finally:
    print("in order", flush=True)
"""

APP = """
from ttchat_tui.cli import main
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen

def waits(*_):
    import time
    time.sleep(3600)

def fails(*_):
    raise AttributeError("a name that Textual uses")

{patch}
main()
"""


@pytest.mark.parametrize("number", [signal.SIGHUP, *sized([], [signal.SIGTERM])])
@pytest.mark.parametrize(
    ("how", "said"), [("loops", "in order\n"), ("waits", "in order\n"), ("catches_everything", "")]
)
def test_whatever_the_main_thread_is_stuck_in_it_ends(how: str, said: str, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.communicate(timeout=60)[0] == said
        assert process.returncode == 128 + number


def app_that(patch: str, folder: Path, **environ: Any) -> PtyApp:
    return PtyApp(folder, program=("-c", APP.format(patch=patch)), **(environ or NO_MODEL))


@pytest.mark.skipif(not IS_NIGHTLY, reason="a whole app; the one below is stuck and has a reply")
def test_an_app_that_fails_to_leave_ends_in_order(tmp_path: Path) -> None:
    with closing(app_that("TtchatApp._leave = fails", tmp_path)) as app:
        app.until("ctrl+p")
        app.kill(signal.SIGHUP)
        assert app.until_end() == 128 + signal.SIGHUP
        assert is_restored(bytes(app.received))
        assert b"Traceback" not in app.received
        assert b"ended by SIGHUP" in app.received


def test_a_stuck_app_whose_terminal_has_gone_ends_and_keeps_the_reply(tmp_path: Path) -> None:
    gate = StreamGate()
    with serving(ScriptedServer(VLLM, Script(replies=("one two three four",), stepped=True), gate)) as server:
        environ = {"TTCHAT_ENGINE": "remote", "TTCHAT_MODEL": MODEL, "OPENAI_BASE_URL": server.base_url}
        with closing(app_that("TtchatApp.action_help = waits", tmp_path, **environ)) as app:
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
