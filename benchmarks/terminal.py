"""A program on its own pseudo-terminal. Output is searched as bytes and not interpreted, which costs little."""

from __future__ import annotations

import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from ptyprocess import PtyProcess

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 200, 50
APP = (sys.executable, "-m", "ttchat_tui")
PACED_APP = (sys.executable, "-m", "benchmarks.paced_app")


class Terminal:
    """Starts `command` and ends it with the block. Times are seconds since the start."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        self.process = PtyProcess.spawn(list(command), cwd=str(ROOT), dimensions=(ROWS, COLUMNS), env=environ)
        self.received = bytearray()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def now_s(self) -> float:
        return time.perf_counter() - self.started

    def cpu_s(self) -> float:
        """CPU seconds of all threads of the program so far; the machine's load changes them little."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def screen_s(self) -> tuple[float, float]:
        """Of the screen's thread so far: CPU seconds, and seconds that it was ready and waited for a core."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/schedstat")
        running_ns, waiting_ns, _ = path.read_text().split()
        return int(running_ns) / 1e9, int(waiting_ns) / 1e9

    def type(self, text: str) -> None:
        os.write(self.process.fd, text.encode())

    def read(self, timeout_s: float) -> bool:
        """Read what arrives within `timeout_s`. Returns whether anything did; raises EOFError when the program has ended."""
        if not select.select([self.process.fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self.process.fd, 1 << 16)
        except OSError as error:
            raise EOFError(self.tail()) from error
        self.received += data
        return True

    def until(self, text: str, since: int = 0, timeout_s: float = 60.0) -> float:
        """Wait until `text` appears after the first `since` bytes. Returns the time.

        The text must be in one style: escape sequences are not removed.
        """
        needle, looked = text.encode(), since
        deadline = time.perf_counter() + timeout_s
        while self.received.find(needle, looked) < 0:
            looked = max(since, len(self.received) - len(needle))
            self.read(0.5)
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{text!r} did not come; last bytes: {self.tail()}")
        return self.now_s()

    def drain(self, seconds: float) -> None:
        """Read all output for `seconds`."""
        deadline = time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            self.read(left)

    def tail(self) -> str:
        return self.received[-2000:].decode(errors="replace")

    def end(self, timeout_s: float = 15.0) -> None:
        """Send SIGTERM, read the remaining output, and kill it after `timeout_s`."""
        if self.process.isalive():
            self.process.kill(signal.SIGTERM)
        deadline = time.perf_counter() + timeout_s
        try:
            while self.process.isalive() and time.perf_counter() < deadline:
                self.read(0.05)
        except EOFError:
            pass
        self.process.close(force=True)


def app_environ(folder: Path | None = None, **more: str) -> dict[str, str]:
    """The environment of a new user, with settings below `folder`. The model cache is the real one."""
    folder = folder or Path(tempfile.mkdtemp(prefix="ttchat-bench-"))
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("TTCHAT_", "NO_COLOR"))
    }
    for each in ("CONFIG", "DATA", "STATE"):
        environ[f"TTCHAT_{each}_DIR"] = str(folder / each.lower())
    return environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **more}
