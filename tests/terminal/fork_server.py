"""Starts the app on terminals, each time in a fork of one process that has imported it: imports are most of a start's CPU time.

As a program: serves the requests that come through the socket whose number is the argument.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import importlib
import json
import os
import pty
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from ptyprocess import PtyProcess

from ttchat_tui import cli
from ttchat_tui.ui import deferred

IMPORTED: Final = (
    "benchmarks.paced_app", "ttchat_tui.cli.chat", "ttchat_tui.cli.entry", "ttchat_tui.cli.invocation", "ttchat_tui.cli.main",
    "ttchat_tui.engine.served.engine",
)  # fmt: skip
LONGEST_REQUEST: Final = 200_000


class ForkedProcess(PtyProcess):
    """A `PtyProcess` that is another process's child. `parent` sends its exit code when it has ended, and lets it be a zombie
    until this end is closed."""

    def __init__(self, pid: int, fd: int, parent: socket.socket) -> None:
        super().__init__(pid, fd)
        self._parent = parent

    def isalive(self) -> bool:
        if not self.terminated and select.select([self._parent], [], [], 0)[0]:
            self.wait()
        return not self.terminated

    def wait(self) -> int | None:
        if not self.terminated:
            code = int(self._parent.recv(20))
            self._parent.close()
            self.exitstatus, self.signalstatus = (code, None) if code >= 0 else (None, -code)
            self.terminated = True
        return self.exitstatus

    def close(self, force: bool = True) -> None:
        if self.isalive():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        super().close(force)


def start(
    module: str, arguments: Sequence[str], size: tuple[int, int], folder: str, environ: Mapping[str, str]
) -> ForkedProcess:
    """`python -m MODULE` on a terminal of its own. `size`: rows, columns."""
    server, _ = _server()
    request = {
        "module": module,
        "arguments": list(arguments),
        "size": size,
        "folder": folder,
        "environ": dict(environ),
    }
    server.send(json.dumps(request).encode())
    pid, (fd, parent), _, _ = socket.recv_fds(server, 20, 2)
    return ForkedProcess(int(pid), fd, socket.socket(fileno=parent))


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """It ends when the socket is closed, with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.terminal.fork_server", str(theirs.fileno())],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "LANG": "C.UTF-8", "COLORTERM": "truecolor", "TERM": "xterm-256color"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours, process


def _serve(requests: socket.socket) -> None:
    """Fork for each request: a process that starts the app on a terminal and waits for its end."""
    started: list[int] = []
    while line := requests.recv(LONGEST_REQUEST):
        started = [pid for pid in started if os.waitpid(pid, os.WNOHANG)[0] == 0]
        started.append(os.fork())
        if started[-1] == 0:
            _keep(json.loads(line), requests)


def _keep(request: Any, requests: socket.socket) -> NoReturn:
    """Start the app, and report its end."""
    ours, theirs = socket.socketpair()
    pid, terminal = pty.fork()
    if pid == 0:
        for each in (requests, ours, theirs):
            os.close(each.detach())
        _become(request)
    socket.send_fds(requests, [str(pid).encode()], [terminal, theirs.fileno()])
    for each in (requests.detach(), terminal, theirs.detach()):
        os.close(each)
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert end is not None
    ours.send(str(end.si_status if end.si_code == os.CLD_EXITED else -end.si_status).encode())
    ours.recv(1)
    os.waitpid(pid, 0)  # so that this process's CPU time includes the app's
    os._exit(0)


def _become(request: Any) -> NoReturn:
    """Run the program, and leave as it leaves."""
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *request["size"], 0, 0))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environ"])
    sys.argv = [request["module"], *request["arguments"]]
    sys.stdin = sys.__stdin__ = open(0)  # noqa: SIM115 (for the program's life)
    sys.stdout = sys.__stdout__ = open(1, "w")  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    main = cli.main
    for name in (*IMPORTED, *deferred.MODULES.values()):
        importlib.import_module(name)
    cli.main = main  # in place of the module of that name
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
