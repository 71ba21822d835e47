"""Quitting during the start is no error, and internal errors are reported."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.terminal.pty_app import NO_MODEL, PtyApp, is_restored

pytestmark = pytest.mark.terminal


@pytest.fixture
def app(tmp_path: Path) -> Iterator[PtyApp]:
    started = PtyApp(tmp_path, **NO_MODEL)
    yield started
    started.close()


@pytest.mark.parametrize("sign", ["ttchat", "Write a message", "ctrl+p"])
def test_ctrl_q_at_the_first_frame_quits_in_order(app: PtyApp, sign: str) -> None:
    app.until(sign)
    app.type("\x11")
    assert app.until_end() == 0
    assert is_restored(bytes(app.received))
    assert b"Traceback" not in app.received


def test_alt_enter_begins_a_line_in_a_terminal_without_a_keyboard_protocol(app: PtyApp) -> None:
    app.until("ctrl+p")
    app.type("one\x1b\rtwo")
    text = app.until("two")
    assert "│ one" in text
    assert "│ two" in text


@pytest.mark.parametrize(
    ("flags", "is_kept"), [((), True), (("--no-save",), False)], ids=["kept", "not kept"]
)
def test_an_internal_error_is_reported_in_a_sentence_and_its_traceback_logged(
    tmp_path: Path, flags: tuple[str, ...], is_kept: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        dedent("""
            import sys

            class Broken:
                def find_spec(self, name, path=None, target=None):
                    if name == "ttchat_tui.ui.widgets.history.panel":
                        raise RuntimeError("broken on purpose")

            sys.meta_path.insert(0, Broken())
        """)
    )
    app = PtyApp(tmp_path, *flags, PYTHONPATH=str(tmp_path), **NO_MODEL)
    assert app.until_end() == 1
    log = tmp_path / "state" / "ttchat-tui.log"
    restored, _, said = bytes(app.received).rpartition(b"\x1b[?1049l")
    assert restored
    assert b"RuntimeError: broken on purpose" in said
    assert str(log).encode() in said
    assert (b"is kept" in said) == is_kept
    assert b"Traceback" not in app.received
    assert "in _mount_sidebars" in log.read_text()
    assert is_restored(bytes(app.received))


def test_a_terminal_that_is_gone_ends_the_app_without_a_signal(tmp_path: Path) -> None:
    """Without a controlling terminal (under `setsid`, or in a service) there is no SIGHUP."""
    master, slave = pty.openpty()
    folders = {
        f"TTCHAT_{each}_DIR": str(tmp_path / each.lower()) for each in ("CONFIG", "DATA", "CACHE", "STATE")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ttchat_tui"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, **folders, **NO_MODEL, "TERM": "xterm-256color"},
    )
    os.close(slave)
    try:
        shown = b""
        while b"ctrl+p" not in shown:
            shown += os.read(master, 65536)
        os.close(master)
        assert process.wait(30) == 128 + signal.SIGHUP
    finally:
        process.kill()
        process.wait()
