"""Signals that end the app: the terminal is restored, and the signal is named."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import Patience
from tests.size import sized
from tests.terminal.pty_app import NO_MODEL, PtyApp, is_restored
from ttchat_tui.signals import ENDING, STACKS_SIGNAL, EndingSignals, name

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(120)]


STACKS = "(most recent call first):"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., PtyApp]]:
    apps: list[PtyApp] = []

    def make(**environ: Any) -> PtyApp:
        apps.append(PtyApp(tmp_path, **(environ or NO_MODEL), is_forked=not environ))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def settings(app: PtyApp) -> list[object]:
    return list(termios.tcgetattr(app.process.fd))


@pytest.fixture
def line_mode() -> Iterator[object]:
    """The local modes of a terminal that nobody has used."""
    ours, theirs = pty.openpty()
    yield termios.tcgetattr(ours)[3]
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    "number",
    [
        "SIGHUP", "SIGINT", "SIGQUIT", "SIGRTMIN",
        *sized([], ["SIGALRM", "SIGTERM", "SIGUSR2", "SIGVTALRM", "SIGPROF", "SIGXCPU"]),
    ],
)  # fmt: skip
def test_each_signal_restores_the_terminal_and_is_named(
    start: Callable[..., PtyApp], line_mode: object, number: str
) -> None:
    app = start()
    app.until("Write a message")
    wanted = int(getattr(signal, number))
    app.kill(wanted)
    assert app.until_end() == 128 + wanted
    assert is_restored(bytes(app.received))
    assert settings(app)[3] == line_mode
    assert f"ttchat-tui: ended by {number}" in app.received.decode()


def test_all_signals_that_end_a_process_are_handled() -> None:
    """By signal(7); those that no Python survives, or that Python makes errors of, are left out."""
    faults = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"}
    harmless = {"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH"}
    others = {"SIGKILL", "SIGINT", "SIGPIPE", "SIGXFSZ", STACKS_SIGNAL.name}
    left = {number for number in signal.valid_signals() if number not in ENDING}
    assert {signal.Signals(number).name for number in left} <= faults | harmless | others


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT])
def test_many_signals_at_once_end_it_like_one(start: Callable[..., PtyApp], number: signal.Signals) -> None:
    app = start()
    app.until("Write a message")
    while app.process.isalive():
        app.kill(number)
        app.read(0.01)
    assert app.until_end() == 128 + number
    assert is_restored(bytes(app.received))
    assert b"Traceback" not in app.received


@pytest.mark.parametrize("until", ["", "\x1b[?1049h", "ttchat"])
def test_a_start_that_is_interrupted_leaves_the_terminal_as_it_was(
    start: Callable[..., PtyApp], tmp_path: Path, until: str
) -> None:
    app = start(TTCHAT_MODEL=str(tmp_path / "missing.gguf"))  # The engine's process starts meanwhile.
    before = settings(app)
    while settings(app)[3] == before[3]:  # until it keeps what is typed ahead
        app.read(0.001)
    while until.encode() not in app.received:
        app.read(0.01)
    app.kill(signal.SIGHUP)
    app.kill(signal.SIGHUP)
    assert app.until_end() == 128 + signal.SIGHUP
    assert is_restored(bytes(app.received))
    assert settings(app)[3] == before[3]
    assert b"Traceback" not in app.received


def test_during_shutdown_only_a_request_to_quit_counts_and_only_while_waiting() -> None:
    with EndingSignals() as ending:
        with pytest.raises(SystemExit, match=str(128 + signal.SIGHUP)):
            os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        with ending.impatience():
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGALRM)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert ending.number == signal.SIGHUP


def test_a_signal_during_shutdown_breaks_nothing() -> None:
    with EndingSignals() as ending:
        ending.begin_end()
        os.kill(os.getpid(), signal.SIGHUP)
    assert ending.number == signal.SIGHUP


def test_a_shutdown_that_began_inside_goes_undisturbed_outside() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with EndingSignals() as outer:
        with EndingSignals() as inner:
            inner.begin_end()
        os.kill(os.getpid(), signal.SIGHUP)
        assert outer.number == signal.SIGHUP
    assert signal.getsignal(signal.SIGHUP) == before


def test_a_headless_prompt_names_the_signal_that_ended_it(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ttchat_tui", "--plain"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TTCHAT_MODEL": str(tmp_path / "missing.gguf"), "TTCHAT_ENGINE": "remote"},
    )
    assert process.stderr is not None
    process.stderr.readline()  # it has begun
    process.send_signal(signal.SIGQUIT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGQUIT
    assert said.decode().endswith("ttchat-tui: ended by SIGQUIT (Quit).\n")


def until_stacks_are_in(log: Path) -> None:
    """Any thread may get the signal, also one that Python does not know."""
    patience = Patience(60)
    while STACKS not in log.read_text():
        assert not patience.is_out()


def test_the_stacks_of_a_screen_are_logged_and_it_goes_on(
    start: Callable[..., PtyApp], own_folders: Path
) -> None:
    app = start()
    app.until("Write a message")
    app.kill(STACKS_SIGNAL)
    until_stacks_are_in(own_folders / "state" / "ttchat-tui.log")
    app.type("still here")
    app.until("still here")
    assert STACKS not in app.received.decode()


@pytest.mark.parametrize("arguments", [("--plain",), ("-p",), ("score", "-")], ids=" ".join)
def test_without_a_screen_the_stacks_are_logged_and_the_command_goes_on(
    own_folders: Path, arguments: tuple[str, ...]
) -> None:
    """The command waits for its stdin, or for a server that accepts and never answers."""
    silent = socket.create_server(("127.0.0.1", 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "ttchat_tui", *arguments, "--engine", "remote"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TTCHAT_LOG_LEVEL": "debug"}
        | {"OPENAI_BASE_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/v1"},
    )
    assert process.stdin is not None
    if arguments != ("--plain",):
        process.stdin.write(b"Hello")
        process.stdin.close()
    silent.settimeout(60)
    silent.accept()  # the log has been open since before
    process.send_signal(STACKS_SIGNAL)
    until_stacks_are_in(own_folders / "state" / "ttchat-tui.log")
    assert process.poll() is None
    process.kill()
    process.wait()
    silent.close()


def test_signals_without_a_name_have_their_number() -> None:
    assert name(signal.SIGQUIT) == "SIGQUIT (Quit)"
    assert name(int(signal.SIGRTMIN) + 1).startswith(f"signal {int(signal.SIGRTMIN) + 1}")
