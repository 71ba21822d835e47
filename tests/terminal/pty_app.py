"""The real program in a real pseudo-terminal, with its screen in pyte."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pyte
from ptyprocess import PtyProcess

from tests.patience import Patience
from tests.terminal import fork_server
from ttchat_tui.signals import STACKS_SIGNAL

NO_MODEL: Final[dict[str, Any]] = {"TTCHAT_ENGINE": "remote", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
"""A served model at an address where nothing answers: an app without a model, and without an engine's process that
imports torch for the next one."""


class _Screen(pyte.Screen):
    """pyte's, which raises at the private form of colour sequences (`CSI ? ... m`), as random input may be echoed."""

    def select_graphic_rendition(self, *attrs: int, private: bool = False) -> None:
        if not private:
            super().select_graphic_rendition(*attrs)


class PtyApp:
    """`python -m ttchat_tui` on its own terminal."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        size: tuple[int, int] = (100, 30),
        python: str = sys.executable,
        cwd: str | None = None,
        program: Sequence[str] = ("-m", "ttchat_tui"),
        is_forked: bool = False,
        **environ: str,
    ) -> None:
        """`is_forked`: from a process that has imported the modules, for tests of what comes after the start."""
        self.columns, self.rows = size
        self._state_dir = folder / "state"
        self.screen = _Screen(self.columns, self.rows)
        self._stream = pyte.ByteStream(self.screen)
        self.received = bytearray()
        variables = {name: value for name, value in os.environ.items() if not name.startswith("NO_COLOR")}
        variables |= {
            f"TTCHAT_{each}_DIR": str(folder / each.lower()) for each in ("CONFIG", "DATA", "CACHE", "STATE")
        }
        variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **environ}
        dimensions = (self.rows, self.columns)
        if is_forked:
            self.process = fork_server.start(program[1], arguments, dimensions, cwd or os.getcwd(), variables)
        else:
            command = [python, *program, *arguments]
            self.process = PtyProcess.spawn(command, cwd=cwd, dimensions=dimensions, env=variables)

    def type(self, text: str) -> None:
        self.process.write(text.encode())

    def resize(self, columns: int, rows: int) -> None:
        self.screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    def kill(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, timeout_s: float) -> bool:
        """Read output for up to `timeout_s`; False at its end."""
        if not select.select([self.process.fd], [], [], timeout_s)[0]:
            return True
        try:
            data = os.read(self.process.fd, 65536)
        except OSError:
            return False
        self.received += data
        self._stream.feed(data)
        return bool(data)

    def until(self, wanted: str | Callable[[str], bool], timeout_s: float = 60.0) -> str:
        """Wait for a text or a condition on the screen, and return the screen's text."""
        patience = Patience(timeout_s)
        is_there = wanted if callable(wanted) else (lambda text: wanted in text)
        while not is_there(self.text()):
            if not self.read(0.2) or patience.is_out():
                raise AssertionError(f"{wanted!r} did not come; on screen:\n{self.text()}\n{self.report()}")
        return self.text()

    def report(self) -> str:
        """Its state or exit status, and its logs with the stacks of all threads: for failures that are hard to repeat."""
        if self.process.isalive():
            for pid in (self.process.pid, *self.engine_pids()):
                os.kill(pid, STACKS_SIGNAL)
            self.read(1.0)  # while the stacks are written
            state = "it runs"
        else:
            state = f"it has ended: exit status {self.process.exitstatus}, signal {self.process.signalstatus}"
        logs = (
            f"--- {file.name}\n{file.read_text(errors='replace')[-8000:]}"
            for file in sorted(self._state_dir.glob("*.log"))
        )
        return "\n".join((state, *logs))

    def until_end(self, timeout_s: float = 30.0) -> int:
        """Wait for the program's end, and return its exit code, negative for a signal."""
        patience = Patience(timeout_s)
        while not patience.is_out() and self.read(0.1):
            pass
        self.process.wait()
        status = self.process.signalstatus
        return -status if status else int(self.process.exitstatus or 0)

    def close(self) -> None:
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
        self.process.close(force=True)

    def engine_pids(self) -> list[int]:
        """The app's child processes that run an engine."""
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    command = (entry / "cmdline").read_bytes()
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                except (OSError, IndexError, ValueError):
                    continue
                if parent == self.process.pid and b"ttchat_tui.engine.runtime.worker" in command:
                    found.append(int(entry.name))
        return found


def is_running(pid: int) -> bool:
    """Whether a process is alive. A zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_restored(received: bytes) -> bool:
    """Whether every mode of the terminal was left last: alternate screen, mouse, cursor."""
    return all(
        received.rfind(off) > received.rfind(on)
        for on, off in (
            (b"\x1b[?1049h", b"\x1b[?1049l"),
            (b"\x1b[?1000h", b"\x1b[?1000l"),
            (b"\x1b[?2004h", b"\x1b[?2004l"),
            (b"\x1b[?25l", b"\x1b[?25h"),
        )
        if on in received
    )
