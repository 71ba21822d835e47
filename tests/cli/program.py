"""The program as a script starts it: without a terminal, in the test's own folders."""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
from collections.abc import Callable

from tests.cli.starter import Starter, starting


def run(
    *arguments: str, before: Callable[[], object] | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`before` is called in the new process, ahead of the program: then, and with variables for Python, a whole start."""
    command = [sys.executable, "-m", "ttchat_tui", *arguments]
    if before is None and not any(name.startswith("PYTHON") for name in environ):
        ran = _starter().run(*arguments, environ=environ, on_pipes=True)
        return subprocess.CompletedProcess(command, ran.code, ran.stdout.decode(), ran.stderr.decode())
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=before,
        env={**os.environ, **environ},
    )


@functools.cache
def _starter() -> Starter:
    """One for all tests of this process."""
    started = starting()
    atexit.register(started.__exit__, None, None, None)
    return started.__enter__()
