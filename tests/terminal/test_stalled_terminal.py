"""A terminal that does not read (a sleeping link, a suspended window) delays the screen and nothing else."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.patience import wait_until
from tests.size import sized
from tests.terminal.pty_app import PtyApp, is_running

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PACED_APP = ("-m", "benchmarks.paced_app")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[PtyApp]:
    """The app while a reply streams."""
    app = PtyApp(
        tmp_path,
        program=PACED_APP,
        cwd=str(ROOT),
        size=(120, 40),
        is_forked=True,
        TTCHAT_BENCH_TOKENS_PER_S="300",
    )
    app.until("● ready")
    app.type("go\r")
    app.until("generating")
    yield app
    app.close()


def kept(folder: Path) -> int:
    """Characters of the reply on disk."""
    with closing(sqlite3.connect(folder / "data" / "conversations.db")) as database:
        query = "SELECT length(content) FROM messages WHERE role = 'assistant'"
        (length,) = database.execute(query).fetchone()
    return int(length)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait without reading the terminal."""
    assert wait_until(condition, 60.0, every_s=0.05)


def stall(folder: Path) -> None:
    """Read nothing until more is written than the pty and the queue before it can hold."""
    was = kept(folder)
    wait_for(lambda: kept(folder) > was + 8_000)


def test_a_reply_is_kept_while_the_terminal_stalls_and_shown_afterwards(app: PtyApp, tmp_path: Path) -> None:
    stall(tmp_path)
    app.type("typed meanwhile")
    app.until("typed meanwhile")
    app.type("\x1b[27u")
    app.until("stopped")


@pytest.mark.parametrize("number", sized([signal.SIGTERM], [signal.SIGTERM, signal.SIGHUP]))
def test_a_signal_ends_the_app_while_the_terminal_stalls(
    app: PtyApp, tmp_path: Path, number: signal.Signals
) -> None:
    stall(tmp_path)
    app.kill(number)
    wait_for(lambda: not is_running(app.process.pid))
    app.process.wait()
    assert app.process.exitstatus == 128 + number


def test_a_stalled_terminal_that_goes_away_ends_the_app_and_its_engine(app: PtyApp, tmp_path: Path) -> None:
    stall(tmp_path)
    pids = [app.process.pid, *app.engine_pids()]
    assert len(pids) == 2
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, app.process.fd)  # which closes the terminal
    os.close(nothing)
    wait_for(lambda: not any(map(is_running, pids)))
