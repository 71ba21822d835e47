"""Before the first frame: errors of the command line are reported without a screen."""

from __future__ import annotations

import signal
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.terminal.pty_app import NO_MODEL, PtyApp

pytestmark = pytest.mark.terminal


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., PtyApp]]:
    apps: list[PtyApp] = []

    def make(*arguments: str, **environ: Any) -> PtyApp:
        apps.append(PtyApp(tmp_path, *arguments, **environ))
        return apps[-1]

    yield make
    for app in apps:
        app.close()


def is_line_mode(app: PtyApp) -> bool:
    """Whether the terminal echoes, edits lines and takes Enter for their end, as shells leave it."""
    iflag, _, _, lflag, *_ = termios.tcgetattr(app.process.fd)
    return bool(iflag & termios.ICRNL) and lflag & (termios.ECHO | termios.ICANON) == (
        termios.ECHO | termios.ICANON
    )


def test_a_flag_that_names_no_model_ends_before_the_screen(start: Callable[..., PtyApp]) -> None:
    app = start("--model", "nonsense")
    assert app.until_end() == 2
    assert b"--model: No model is called 'nonsense'." in app.received
    assert b"\x1b[?1049h" not in app.received, "the alternate screen"


def test_a_variable_that_names_no_model_is_reported_on_the_screen(start: Callable[..., PtyApp]) -> None:
    app = start(TTCHAT_MODEL="nonsense")
    app.until("No model is called 'nonsense'.")
    app.until("/reload loads the model again; ctrl+o")


@pytest.mark.parametrize("arguments", [(), ("--continue",)], ids=["bare", "with a flag"])
def test_a_message_that_is_typed_before_the_screen_is_there_is_sent(
    tmp_path: Path, start: Callable[..., PtyApp], arguments: tuple[str, ...]
) -> None:
    """Typed at the moment at which the program is still importing what draws the screen."""
    (tmp_path / "sitecustomize.py").write_text(
        dedent("""
            import sys

            class Typist:
                def find_spec(self, name, path=None, target=None):
                    if name == "ttchat_tui.ui.launch":
                        print("NOW", flush=True)
                        import select
                        select.select([0], [], [], 30)

            sys.meta_path.insert(0, Typist())
        """)
    )
    app = start(*arguments, PYTHONPATH=str(tmp_path), **NO_MODEL)
    app.until("NOW")
    app.type("Hello from before\r")
    app.until("No model is loaded.")
    app.type("\x11")
    assert app.until_end() == 0
    assert b"Hello from before\r\n" not in app.received, "an echo"
    assert is_line_mode(app)


@pytest.mark.parametrize("exported", [(140, 50), (40, 10)])
def test_an_exported_size_does_not_count(start: Callable[..., PtyApp], exported: tuple[int, int]) -> None:
    columns, lines = map(str, exported)
    app = start(COLUMNS=columns, LINES=lines, **NO_MODEL)
    app.until(lambda text: fills(text, 100))
    app.resize(70, 20)
    app.until(lambda text: fills(text, 70))


def fills(screen: str, columns: int) -> bool:
    """Whether the keys are on the last line, and the prompt's box ends in the last column."""
    lines = screen.splitlines()
    return "enter send" in lines[-1] and lines[-2].endswith("╯") and len(lines[-2]) == columns


def test_a_start_that_is_ended_before_the_screen_gives_the_terminal_back(
    tmp_path: Path, start: Callable[..., PtyApp]
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        dedent("""
            import sys

            class Waiter:
                def find_spec(self, name, path=None, target=None):
                    if name == "ttchat_tui.ui.launch":
                        print("NOW", flush=True)
                        import signal
                        signal.pause()

            sys.meta_path.insert(0, Waiter())
        """)
    )
    app = start(PYTHONPATH=str(tmp_path), **NO_MODEL)
    before = is_line_mode(app)
    app.until("NOW")
    assert (before, is_line_mode(app)) == (True, False)
    app.kill(signal.SIGTERM)
    assert app.until_end() == 128 + signal.SIGTERM
    assert is_line_mode(app)
