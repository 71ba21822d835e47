"""The program as a script starts it: without a terminal, in the test's own folders."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable


def run(
    *arguments: str, before: Callable[[], object] | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """`before` is called in the new process, ahead of the program."""
    return subprocess.run(
        [sys.executable, "-m", "ttchat_tui", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=before,
        env={**os.environ, **environ},
    )
