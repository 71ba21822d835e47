"""The app in a real terminal with the real model: it streams, and every way to end it leaves everything intact."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.native_kernel import lend_kernel
from tests.size import sized
from tests.terminal.pty_app import PtyApp, is_restored, is_running
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.model, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
PACED_APP = ("-m", "benchmarks.paced_app")
ESSAY = "Write a long essay about the history of clocks."
ENDLESS = ("--temperature", "0", "--max-tokens", "4000", "--threads", "1")
"""Greedy, this model begins to repeat itself: the essay is still being written whenever it is looked at. By chance it would
end after a second now and then, before its first checkpoint."""


@pytest.fixture
def start(tmp_path: Path, default_model_path: Path) -> Iterator[Callable[..., PtyApp]]:
    apps: list[PtyApp] = []
    lend_kernel(tmp_path / "cache")

    def make(*arguments: str, size: tuple[int, int] = (79, 30), **settings: Any) -> PtyApp:
        apps.append(
            PtyApp(tmp_path, "--model", str(default_model_path), *ENDLESS, *arguments, size=size, **settings)
        )
        return apps[-1]

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def paced(tmp_path: Path) -> Iterator[PtyApp]:
    """The app on a scripted engine in a process of its own, whose reply never ends: for what is no matter of the model."""
    app = PtyApp(
        tmp_path,
        size=(79, 30),
        program=PACED_APP,
        cwd=str(ROOT),
        is_forked=True,
        TTCHAT_BENCH_TOKENS_PER_S="40",
    )
    yield app
    app.close()


def ask_for_an_essay(app: PtyApp) -> None:
    """Send it, and wait until a few words of the reply are on screen."""
    app.until("● ready")
    app.type(f"{ESSAY}\r")
    app.until("generating")
    app.until(lambda text: reply_words(text) > 8)


def reply_words(screen: str) -> int:
    """Words between the reply's title and the prompt, on a screen without sidebars."""
    shown = screen.rpartition("Q4_1.gguf")[2].partition("╭")[0]
    return len(re.findall(r"[A-Za-z]{2,}", shown))


def replies(folder: Path, *, after_the_app: bool = True) -> list[tuple[str, str]]:
    """Status and text of every reply of the latest conversation, as another process finds them."""
    store = open_store(folder / "data" / "conversations.db")
    if after_the_app:
        store.recover()
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    found = [(m.status, m.content) for m in store.path(latest.head_id) if m.role == "assistant"]
    store.close()
    return found


def words_of_second_reply(folder: Path) -> int:
    """Words of it in the database so far."""
    found = replies(folder, after_the_app=False)
    return len(found[1][1].split()) if len(found) > 1 else 0


def test_a_question_is_answered_and_escape_stops_an_essay_whose_text_stays(
    start: Callable[..., PtyApp], tmp_path: Path
) -> None:
    app = start(size=(120, 40), is_forked=True)
    app.until("● ready")
    app.type("What is the capital of France?\r")
    app.until(
        lambda text: "tok · TTFT" in text and "Paris" in text
    )  # too short for a rate on a quick machine
    app.until("● ready")
    app.type(f"{ESSAY}\r")
    app.until("generating")
    app.until(lambda _: words_of_second_reply(tmp_path) > 3)
    app.type("\x1b")
    app.until("stopped", timeout_s=60)
    app.type("\x11")
    assert app.until_end() == 0
    assert is_restored(bytes(app.received))
    status, text = replies(tmp_path)[-1]
    assert status == "interrupted"
    assert len(text.split()) > 3


def test_what_is_typed_before_the_first_frame_is_in_the_prompt(paced: PtyApp) -> None:
    paced.type("typed at once")
    paced.until("│ typed at once")


def test_ctrl_c_stops_the_reply_and_pressed_twice_quits(paced: PtyApp) -> None:
    paced.until("● ready")
    paced.type("go\r")
    paced.until("generating")
    paced.type("\x03")
    paced.until("stopped")
    engines = paced.engine_pids()
    assert engines
    paced.type("\x03")
    paced.until("ctrl+c again to quit")
    paced.type("\x03")
    assert paced.until_end() == 0
    assert is_restored(bytes(paced.received))
    assert not any(is_running(pid) for pid in engines)


@pytest.mark.parametrize("number", sized([signal.SIGTERM], [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
def test_a_terminating_signal_leaves_terminal_engine_and_conversation_intact(
    start: Callable[..., PtyApp], tmp_path: Path, number: signal.Signals
) -> None:
    app = start(is_forked=True)
    ask_for_an_essay(app)
    engines = app.engine_pids()
    assert engines
    app.kill(number)
    assert app.until_end() == 128 + number
    assert is_restored(bytes(app.received))
    assert not any(is_running(pid) for pid in engines)
    status, text = replies(tmp_path)[-1]
    assert status == "interrupted"
    assert len(text.split()) > 3


def test_after_kill_9_the_next_start_shows_the_reply_as_interrupted(
    start: Callable[..., PtyApp], tmp_path: Path
) -> None:
    app = start(is_forked=True)
    ask_for_an_essay(app)
    # The first checkpoint, however fast the reply comes.
    app.until(lambda _: len(replies(tmp_path, after_the_app=False)[-1][1].split()) > 3)
    engines = app.engine_pids()
    app.kill(signal.SIGKILL)
    assert app.until_end() == -signal.SIGKILL
    again = start("-c", is_forked=True)
    shown = again.until("interrupted")
    assert not any(is_running(pid) for pid in engines)
    status, text = replies(tmp_path)[-1]
    assert status == "interrupted"
    last_words = re.findall(r"\w+", text)[-5:]
    assert len(last_words) == 5
    assert " ".join(last_words) in " ".join(re.findall(r"\w+", shown))
    again.until("● ready")
    again.type("/continue\r")
    again.until("generating")


def test_after_kill_9_every_message_is_sent_or_queued_once(paced: PtyApp, tmp_path: Path) -> None:
    paced.until("● ready")
    paced.type("one\r")
    paced.until("generating")
    paced.type("two\rthree\r")
    paced.until("2 messages wait")
    paced.kill(signal.SIGKILL)
    assert paced.until_end() == -signal.SIGKILL
    with closing(open_store(tmp_path / "data" / "conversations.db")) as store:
        assert [each.content for each in store.queue.adopt()] == ["two", "three"]
        assert store.recent_prompts() == ["one"]


def test_the_death_of_the_engine_is_reported_and_a_reload_restores_it(paced: PtyApp) -> None:
    paced.until("● ready")
    paced.type("go\r")
    paced.until("generating")
    os.kill(paced.engine_pids()[0], signal.SIGKILL)
    paced.until("failed")
    paced.type("/reload\r")
    paced.until("● ready")


def test_without_a_terminal_there_is_no_full_screen(start: Callable[..., PtyApp]) -> None:
    app = start("--model", "no/model", is_forked=True, TERM="dumb")
    app.until("no full screen")
    app.type("/quit\r")
    assert app.until_end() == 0
    assert b"\x1b[?1049h" not in app.received
