"""Memory figures from the system, or none."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

from ttchat_tui.engine.runtime.process_memory import resident_bytes


def test_memory_that_is_touched_shows_in_the_figure() -> None:
    before = resident_bytes()
    with mmap.mmap(-1, 64 << 20) as pages:
        pages.write(b"x" * (64 << 20))
        after = resident_bytes(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before > 50 << 20


def test_a_process_that_is_gone_has_no_figure() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert resident_bytes(process.pid) is None
