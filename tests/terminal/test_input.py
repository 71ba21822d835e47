"""Any input from the terminal: the app handles the keys in it and continues, or reports why it ends."""

from __future__ import annotations

import os
import random
import signal
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from tests.size import sized
from tests.terminal.pty_app import NO_MODEL, PtyApp, is_restored

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(120)]

NO_UTF8 = {
    "a Latin-1 letter": b"\xe4",
    "a mouse report of 1985 beyond column 95": b"\x1b[M \xe9!",
    "one beyond row 95": b"\x1b[M !\xe9",
    "half a character": b"\xf0\x9f\x98",
    "no character": b"\xff\xfe",
    "a surrogate": b"\xed\xa0\x80",
    "a C1 control": b"\x9b31m",
}
NO_KEYS = {
    "a release": b"\x1b[97;1:3u",
    "a shifted key": b"\x1b[97:65;2u",
    "a code that is no character's": b"\x1b[99999999u",
    "a code that is no int": b"\x1b[99999999999999999999u",
    "text that is no character's": b"\x1b[97;1;1114112u",
    "no code": b"\x1b[::;:u",
    "a size of nothing": b"\x1b[48;0;0;0;0t",
    "a size in no pixels": b"\x1b[48;30;100;0;0t\x1b[<0;5;5M",
    "a size that no screen has": b"\x1b[48;99999999;99999999;1;1t",
    "a mode of no number": b"\x1b[?2048;9$y",
    "an arrow that is let go": b"\x1b[1;1:3D",
    "what the terminal can": b"\x1b[?62;22c",
    "its name": b"\x1bP>|XTerm(388)\x1b\\",
    "its colour": b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\",
    "a hundred parameters": b"\x1b[" + b";".join([b"1"] * 100) + b"u",
    "a place of 400 digits": b"\x1b[<0;" + b"9" * 400 + b";1M",
}
UNFINISHED = [
    b"\x1b[",
    b"\x1b[12",
    b"\x1b[" + b"1;" * 2000,
    b"\x1b]11;rgb",
    b"\x1bP1",
    b"\x1b_Gi=31",
    b"\x1b[M",
    b"\x1bO",
]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., PtyApp]]:
    apps: list[PtyApp] = []

    def make(**environ: str) -> PtyApp:
        no_editor = {"VISUAL": "true", "EDITOR": "true"}  # ctrl+g may be among random bytes
        variables = {**NO_MODEL, **no_editor, **environ}
        apps.append(PtyApp(tmp_path, is_forked="PYTHONPATH" not in environ, **variables))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def test_bytes_that_are_neither_text_nor_keys_do_no_harm(start: Callable[..., PtyApp]) -> None:
    app = start()
    app.until("Write a message")
    for number, (what, data) in enumerate((NO_UTF8 | NO_KEYS).items()):
        app.process.write(data)
        app.type(f"after{number}")
        app.until(f"after{number}")
        assert app.process.isalive(), what
        app.type("\x15")
        app.until("Write a message")
    for unfinished in UNFINISHED[:-1]:
        app.process.write(unfinished + b"\x15now")
        app.until(lambda text: text.count("now") == 1)
    app.process.write(UNFINISHED[-1] + b"\x11")
    assert app.until_end() == 0
    assert is_restored(bytes(app.received))


@pytest.mark.parametrize("seed", range(sized(1, 50)))
def test_random_bytes_end_the_app_only_with_a_reason(start: Callable[..., PtyApp], seed: int) -> None:
    app = start()
    app.until("Write a message")
    rng = random.Random(seed)
    for _ in range(100):
        app.process.write(noise(rng))
        app.read(0.0)
    app.process.write(b"\x1b[201~\x11\x11")  # out of a paste that may have begun
    code = app.until_end()
    assert is_restored(bytes(app.received))
    assert code == 0 or b"ttchat-tui: stopped by an error" in app.received


def noise(rng: random.Random) -> bytes:
    """Bytes, and what looks like the beginning of a key."""
    if rng.random() < 0.5:
        return rng.randbytes(rng.randint(1, 40)).translate(
            None, b"\x03\x11\x1a"
        )  # they may leave or suspend, and rightly so
    codes = "".join(rng.choice("0123456789;:<?") for _ in range(rng.randint(0, 12)))
    return f"\x1b[{codes}{rng.choice('u~ABCDHFMmtyRIO')}".encode()


def test_a_lost_input_is_reported_and_fails(start: Callable[..., PtyApp], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        dedent("""
            import os, threading

            read = os.read

            def broken(descriptor, size):
                data = read(descriptor, size)
                if threading.current_thread().name == "textual-input" and b"!" in data:
                    raise RuntimeError("broken on purpose")
                return data

            os.read = broken
        """)
    )
    app = start(PYTHONPATH=os.pathsep.join((str(tmp_path), *filter(None, sys.path))))
    app.until("Write a message")
    app.type("!")
    assert app.until_end() == 1
    assert is_restored(bytes(app.received))
    assert b"ttchat-tui: stopped by an internal error (RuntimeError: broken on purpose)" in app.received


STOPS: Final = 8


def threads(app: PtyApp) -> list[str]:
    return [(task / "comm").read_text().strip() for task in Path(f"/proc/{app.process.pid}/task").iterdir()]


def until_stopped(app: PtyApp) -> None:
    while Path(f"/proc/{app.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        app.read(0.05)


def test_a_stop_that_no_one_asked_for_leaves_one_reader_of_the_keys(start: Callable[..., PtyApp]) -> None:
    app = start()
    app.until("Write a message")
    before = len(threads(app))
    for _ in range(STOPS):
        app.kill(signal.SIGSTOP)
        until_stopped(app)
        app.kill(signal.SIGCONT)
    paste = " ".join(f"word{number}" for number in range(400))
    app.type(f"\x1b[200~{paste} the end\x1b[201~")
    app.until("the end")
    assert (
        len(threads(app)) < before + STOPS / 2
    )  # other threads come and go: one or two, not one for each stop
    app.type("\x11")
    assert app.until_end() == 0


def test_a_screen_that_a_shell_took_meanwhile_is_drawn_again(start: Callable[..., PtyApp]) -> None:
    """A shell that sees its job stopped sets line mode, and writes its prompt into the alternate screen."""
    app = start()
    app.until("Write a message")
    raw = termios.tcgetattr(app.process.fd)
    app.kill(signal.SIGSTOP)
    until_stopped(app)
    cooked = termios.tcgetattr(app.process.fd)
    cooked[3] |= termios.ICANON | termios.ECHO | termios.ISIG
    termios.tcsetattr(app.process.fd, termios.TCSANOW, cooked)
    app.screen.reset()
    app.kill(signal.SIGCONT)
    app.until("Write a message")
    while termios.tcgetattr(app.process.fd)[3] != raw[3]:
        time.sleep(0.01)
    app.type("still here")
    app.until("still here")
    app.type("\x11")
    assert app.until_end() == 0


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_the_whole_screen_is_drawn_again_after_a_stop(start: Callable[..., PtyApp], number: int) -> None:
    """Also where the terminal's settings are as they were: anyone may have written to it."""
    app = start()
    whole = app.until("/reload loads the model again")
    app.kill(number)
    until_stopped(app)
    known = -1
    while known != len(app.received):  # what it had written before
        known = len(app.received)
        app.read(0.1)
    app.screen.reset()
    app.kill(signal.SIGCONT)
    app.until(lambda text: text.count("│") >= whole.count("│") > 40)


def test_a_suspended_app_comes_back(start: Callable[..., PtyApp]) -> None:
    app = start()
    app.until("Write a message")
    app.kill(signal.SIGTSTP)
    until_stopped(app)
    app.read(0.5)
    assert is_restored(bytes(app.received))
    app.screen.reset()
    app.kill(signal.SIGCONT)
    app.until("Write a message")
    app.type("back again")
    app.until("back again")
