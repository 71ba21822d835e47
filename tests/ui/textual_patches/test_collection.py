"""Garbage is collected while nothing is typed."""

from __future__ import annotations

import gc
import math
import time

import pytest
from textual.pilot import Pilot

from tests.ui.chat_app import until
from tests.ui.textual_patches.test_drawn_once import FieldsInFront, TwoScreens
from ttchat_tui.ui.textual_patches import app as patched


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When garbage was collected."""
    found: list[float] = []
    monkeypatch.setattr(patched, "QUIET_S", 0.01)
    monkeypatch.setattr(gc, "collect", lambda *_: found.append(time.monotonic()))
    return found


async def open_and_close(app: TwoScreens, pilot: Pilot[None]) -> None:
    app.push_screen(FieldsInFront())
    await pilot.pause()
    app.pop_screen()
    await pilot.pause()


async def test_what_a_dialog_leaves_is_collected_once_the_keys_have_ended(collections: list[float]) -> None:
    app, looks = TwoScreens(), list[float]()
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app._collection is None)
        app._input_s = math.inf
        look = app._collect_if_quiet
        app._collect_if_quiet = lambda: (looks.append(time.monotonic()), look())[1]  # type: ignore[method-assign]
        collections.clear()
        await open_and_close(app, pilot)
        await until(pilot, lambda: len(looks) > 3)
        assert not collections, "keys come"
        app._input_s = -math.inf
        await until(pilot, lambda: bool(collections))
        await until(pilot, lambda: app._collection is None)
        assert len(collections) == 1


async def test_nothing_is_collected_while_a_reply_streams(collections: list[float]) -> None:
    app = TwoScreens()
    async with app.run_test(size=(60, 20)) as pilot:
        await until(pilot, lambda: app._collection is None)
        collections.clear()
        gc.disable()  # as the pump of events does
        try:
            await open_and_close(app, pilot)
            await until(pilot, lambda: app._collection is None)
        finally:
            gc.enable()
        assert not collections
