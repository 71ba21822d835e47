"""A one-shot timer fires even if its task is delayed for longer than the timer's delay."""

from __future__ import annotations

import asyncio

import pytest
from textual import timer

from ttchat_tui.ui.textual_patches.app import PatchedApp


class LateClock:
    """A clock that advances by a second with each reading, as if the task kept losing the CPU."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def get_time(self) -> float:
        self.now_s += 1.0
        return self.now_s


async def test_a_timer_that_starts_late_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    app, fired = PatchedApp(), asyncio.Event()
    async with app.run_test():
        monkeypatch.setattr(timer._time, "get_time", LateClock().get_time)
        one_shot = app.set_timer(0.01, fired.set)
        assert one_shot._task is not None
        await one_shot._task
        monkeypatch.undo()
        await asyncio.wait_for(fired.wait(), timeout=60)


async def test_only_repeating_timers_skip_late_ticks() -> None:
    app = PatchedApp()
    async with app.run_test():
        assert app.set_interval(0.01, lambda: None)._skip
        assert not app.set_timer(0.01, lambda: None)._skip
