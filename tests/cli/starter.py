"""Starts the program over and over, on terminals or on pipes: each time in a fork of one process that has imported it already, which
takes a hundredth of a second where a start of its own takes one.

As a program: serves the requests that come on stdin.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import importlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.patience import Patience, wait_until
from ttchat_tui.cli import main

IMPORTED: Final = (
    "ttchat_tui.cli.entry", "ttchat_tui.cli.main", "ttchat_tui.cli.headless.driver", "ttchat_tui.engine.served.engine",
    "ttchat_tui.models.prepare", "ttchat_tui.models.hub", "ttchat_tui.ui.config_check",
)  # fmt: skip
HUNG: Final = 1000
"""The exit code of a program that had to be killed."""


@dataclass(frozen=True)
class Ran:
    """What came from it, and the exit code, negative for a signal."""

    stdout: bytes
    stderr: bytes
    code: int

    @property
    def both(self) -> bytes:
        return self.stdout + self.stderr


class Starter:
    """Starts the program. Create it with `starting`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        environ: Mapping[str, str] = {},
        timeout_s: float = 60.0,
        on_pipes: bool = False,
    ) -> Ran:
        """Run it to its end, stdout and stderr each a terminal or a pipe of its own, stdin a pipe with these bytes or nothing.

        `environ` comes on top of this process's environment.
        """
        request = {
            "arguments": list(arguments),
            "stdin": base64.b64encode(stdin or b"").decode(),
            "environ": {**os.environ, **environ},
            "timeout_s": timeout_s,
            "on_pipes": on_pipes,
            "folder": os.getcwd(),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        stdout, stderr = (base64.b64decode(answer[name]) for name in ("stdout", "stderr"))
        return Ran(stdout, stderr, answer["code"])


@contextlib.contextmanager
def starting() -> Iterator[Starter]:
    """A `Starter`, while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cli.starter"],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Starter(process)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def _serve() -> Callable[[], object]:
    """Answer requests until stdin ends. In a fork: run the program."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    for line in requests:
        request = json.loads(line)
        make = os.pipe if request["on_pipes"] else _terminal
        (out, out_end), (err, err_end) = make(), make()
        in_end, into = os.pipe()
        pid = os.fork()
        if pid == 0:
            for end in (out, err, into, requests.fileno(), answers.fileno()):
                os.close(end)
            return _program(request, (in_end, out_end, err_end))
        for end in (in_end, out_end, err_end):
            os.close(end)
        os.write(into, base64.b64decode(request["stdin"]))  # a pipe holds 64 KB
        os.close(into)
        received, is_hung = _received((out, err), request["timeout_s"])
        code = _exit_code(pid, 0 if is_hung else request["timeout_s"])
        stdout, stderr = (base64.b64encode(text).decode() for text in received)
        answer = {"stdout": stdout, "stderr": stderr, "code": HUNG if is_hung else code}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    return lambda: None


def _exit_code(pid: int, timeout_s: float) -> int:
    """Of a fork that has closed its output. One that does not end in time is killed."""
    ended = (0, 0)

    def has_ended() -> bool:
        nonlocal ended
        ended = os.waitpid(pid, os.WNOHANG)
        return ended[0] == pid

    if wait_until(has_ended, timeout_s, every_s=0.001):
        return os.waitstatus_to_exitcode(ended[1])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return HUNG


def _terminal() -> tuple[int, int]:
    """Both ends of a terminal that passes bytes on as they are."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    return ours, theirs


def _received(streams: Sequence[int], timeout_s: float) -> tuple[list[bytes], bool]:
    """All that comes until the other ends are closed, and whether they were still open when the time was over."""
    texts = dict.fromkeys(streams, b"")
    left, patience = set(streams), Patience(timeout_s)
    while left and not patience.is_out():
        for each in select.select(left, [], [], 0.2)[0]:
            try:
                data = os.read(each, 65536)
            except OSError:  # how the end of a terminal looks
                data = b""
            texts[each] += data
            if not data:
                left.discard(each)
    for each in streams:
        os.close(each)
    return [texts[each] for each in streams], bool(left)


def _program(request: Any, streams: Sequence[int]) -> Callable[[], object]:
    """Run the program in a fork, as the console script does."""
    for descriptor, stream in enumerate(streams):
        os.dup2(stream, descriptor)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = ["ttchat-tui", *request["arguments"]]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 (for the program's life)
    return _start


def _start() -> None:
    """The program, without the end of its interpreter, which takes longer than most commands."""
    try:
        main()
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(leaving.code or 0)


if __name__ == "__main__":
    _serve()()
