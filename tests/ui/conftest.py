"""Pilot's pauses end when the app is at rest, however busy the machine is."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

SOON_S: Final = 0.02
"""A timer that is due within so long belongs to what was begun: Textual draws at 60 Hz."""
PASSES: Final = 3
"""Of the event loop with nothing to do, one after the other."""
MOST_PASSES: Final = 300
"""Limit of a pause while something always moves."""


async def until_at_rest(_min_sleep: float = 0.0, _max_sleep: float = 0.0) -> None:
    """Return when no callback is ready and no timer is due soon.

    In place of Textual's `wait_for_idle`, which takes a process for idle that used no CPU time for 20 ms: on a busy
    machine that is also one that waits for its turn, and on an idle one it is 40 ms for each key.
    """
    loop: Any = asyncio.get_running_loop()
    quiet = 0
    for _ in range(MOST_PASSES):
        now = loop.time()
        due = [handle.when() for handle in loop._scheduled if not handle.cancelled()]
        due_s = min(due, default=now + 1.0) - now
        await asyncio.sleep(max(0.0, due_s) if due_s < SOON_S else 0.0)
        quiet = 0 if loop._ready or due_s < SOON_S else quiet + 1
        if quiet == PASSES:
            return


@pytest.fixture(autouse=True)
def pauses_until_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual.pilot.wait_for_idle", until_at_rest)
    monkeypatch.setattr("textual.app.wait_for_idle", until_at_rest)
