"""The terminal, on a real pty: noise kept off it, and everything given back, however the app ends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import termios
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import Patience
from ttchat_tui.cli import terminal

ROOT = Path(__file__).parents[2]
NOISE = r"os.write(1, b'RAW1\n'); os.write(2, b'RAW2\n'); print('PY1'); print('PY2', file=sys.stderr)"


class Pty:
    """A script on a terminal of its own."""

    def __init__(
        self, script: str, *, environment: dict[str, str] | None = None, stdout: int | None = None
    ) -> None:
        self.master, self.slave = pty.openpty()
        self.settings = termios.tcgetattr(self.slave)
        head = "import os, signal, sys, termios, tty\nfrom pathlib import Path\nfrom ttchat_tui.cli import terminal\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(script)],
            stdin=self.slave,
            stdout=self.slave if stdout is None else stdout,
            stderr=self.slave,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        self.seen = ""

    def read_until(self, text: str, timeout_s: float = 60) -> None:
        patience = Patience(timeout_s)
        while text not in self.seen:
            assert not patience.is_out(), f"{text!r} never came: {self.seen!r}"
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 4096).decode()

    def end(self) -> int:
        """The exit status, with all output read."""
        status = self.process.wait(60)
        os.write(self.slave, b"<END>")
        self.read_until("<END>")
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in (self.master, self.slave):
            try:
                os.close(fd)
            except OSError:
                pass


def _take_terminal() -> None:
    """Make stdin the controlling terminal, so that closing it hangs up."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def ptys() -> Iterator[list[Pty]]:
    opened: list[Pty] = []
    yield opened
    for one in opened:
        one.close()


APP = """
with terminal.captured(Path({log!r})):
    tty.setraw(0)
    sys.__stderr__.write("\\x1b[?1049h\\x1b[?25lDRAWN")
    sys.__stderr__.flush()
    {noise}
    {body}
print("AFTER")
"""


def app(tmp_path: Path, body: str) -> str:
    return APP.format(log=str(tmp_path / "log"), noise=NOISE, body=body)


def test_native_output_goes_to_a_private_log_and_drawing_to_the_terminal(
    tmp_path: Path, ptys: list[Pty]
) -> None:
    ptys.append(one := Pty(app(tmp_path, "pass")))
    assert one.end() == 0
    assert "DRAWN" in one.seen
    assert "AFTER" in one.seen, "stdout is the terminal again"
    assert not {"RAW1", "RAW2", "PY1", "PY2"} & set(one.seen.split())
    log = tmp_path / "log"
    assert sorted(log.read_text().split()) == ["PY1", "PY2", "RAW1", "RAW2"]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_normal_end_gives_the_line_settings_back_and_writes_nothing_more(
    tmp_path: Path, ptys: list[Pty]
) -> None:
    ptys.append(one := Pty(app(tmp_path, "pass")))
    one.end()
    assert termios.tcgetattr(one.slave) == one.settings
    assert "\x1b[?1049l" not in one.seen, "leaving the alternate screen is Textual's, once"


def test_a_crash_resets_the_terminal_before_the_traceback(tmp_path: Path, ptys: list[Pty]) -> None:
    ptys.append(one := Pty(app(tmp_path, "raise RuntimeError('crash')")))
    assert one.end() == 1
    reset = one.seen.index("\x1b[?1049l")
    assert one.seen.index("\x1b[?25h") > reset
    assert one.seen.index("RuntimeError: crash") > reset
    assert termios.tcgetattr(one.slave) == one.settings


def test_sigterm_resets_the_terminal(tmp_path: Path, ptys: list[Pty]) -> None:
    ptys.append(one := Pty(app(tmp_path, "signal.pause()")))
    one.read_until("DRAWN")
    one.process.send_signal(signal.SIGTERM)
    assert one.end() == 128 + signal.SIGTERM
    assert "\x1b[?1049l" in one.seen
    assert termios.tcgetattr(one.slave) == one.settings


def test_a_terminal_that_went_away_ends_the_app_without_an_error(tmp_path: Path, ptys: list[Pty]) -> None:
    ptys.append(one := Pty(app(tmp_path, "signal.pause()")))
    one.read_until("DRAWN")
    os.close(one.slave)
    os.close(one.master)
    assert one.process.wait(10) == 128 + signal.SIGHUP
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_signals_are_given_back(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)]
    with terminal.captured(tmp_path / "log"):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize(("term", "possible"), [("xterm-256color", True), ("dumb", False), ("", False)])
def test_a_full_screen_needs_a_terminal_that_moves_its_cursor(
    ptys: list[Pty], term: str, possible: bool
) -> None:
    ptys.append(
        one := Pty("print('POSSIBLE', terminal.is_full_screen_possible())", environment={"TERM": term})
    )
    one.end()
    assert f"POSSIBLE {possible}" in one.seen


def test_a_full_screen_needs_stdout_to_be_a_terminal(ptys: list[Pty]) -> None:
    script = "print('POSSIBLE', terminal.is_full_screen_possible(), file=sys.stderr)"
    ptys.append(one := Pty(script, stdout=subprocess.DEVNULL))
    one.end()
    assert "POSSIBLE False" in one.seen


def test_any_text_can_be_printed_in_any_locale() -> None:
    code = "from ttchat_tui.cli import terminal; terminal.ensure_utf8(); print('\\xe9 \\U0001f642 \\udc80')"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    printed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, cwd=ROOT, check=True
    )
    assert printed.stdout.decode() == "é 🙂 ?\n"


def test_a_crash_of_native_code_leaves_stacks_in_the_log(tmp_path: Path, ptys: list[Pty]) -> None:
    ptys.append(one := Pty(app(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")))
    assert one.end() == -signal.SIGSEGV
    assert "Current thread" in (tmp_path / "log").read_text()
