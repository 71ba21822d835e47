"""A worker does not outlive the widgets that it draws on."""

from __future__ import annotations

import asyncio

from textual.app import ComposeResult
from textual.widgets import Static

from ttchat_tui.ui.textual_patches.app import PatchedApp


class DrawnByWorker(Static):
    def __init__(self, gone: asyncio.Event) -> None:
        super().__init__()
        self._gone = gone

    def on_unmount(self) -> None:
        self._gone.set()


class Working(PatchedApp):
    def __init__(self) -> None:
        super().__init__()
        self._gone = asyncio.Event()
        self.has_outlived = False

    def compose(self) -> ComposeResult:
        yield DrawnByWorker(self._gone)

    async def work(self) -> None:
        await self._gone.wait()
        self.has_outlived = True


async def test_a_worker_ends_before_its_widgets_are_removed() -> None:
    app = Working()
    async with app.run_test():
        app.run_worker(app.work())
    assert not app.has_outlived
