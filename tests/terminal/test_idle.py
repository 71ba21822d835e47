"""The idle app paints nothing and uses next to no CPU time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.cpu.native_kernel import lend_kernel
from tests.terminal.pty_app import PtyApp

pytestmark = [pytest.mark.terminal, pytest.mark.model, pytest.mark.timeout(180)]

SETTLED_S = 2.0
"""Without output for so long, and the app has drawn all that there was to draw."""
WATCHED_S = 3.0
BUSY_SHARE = 0.01
"""Of one core, both processes together. CPU time, so other programs do not count."""


@pytest.fixture
def idle(tmp_path: Path, default_model_path: Path) -> Iterator[PtyApp]:
    lend_kernel(tmp_path / "cache")
    app = PtyApp(tmp_path, "--model", str(default_model_path), size=(120, 40))
    app.until("ready")
    last = time.monotonic()
    while time.monotonic() - last < SETTLED_S:
        before = len(app.received)
        assert app.read(0.1)
        if len(app.received) > before:
            last = time.monotonic()
    yield app
    app.close()


def cpu_s(pids: list[int]) -> float:
    """User and system time of the processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_an_idle_app_paints_nothing_and_uses_next_to_no_cpu(idle: PtyApp) -> None:
    pids = [idle.process.pid, *idle.engine_pids()]
    assert len(pids) == 2
    painted, used_s = len(idle.received), cpu_s(pids)
    end = time.monotonic() + WATCHED_S
    while (left := end - time.monotonic()) > 0:
        assert idle.read(left)
    assert idle.received[painted:] == b""
    # One tick of the clock that the figures are counted in is slack.
    assert cpu_s(pids) - used_s <= BUSY_SHARE * WATCHED_S + 1 / os.sysconf("SC_CLK_TCK")
