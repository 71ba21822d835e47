"""The whole app on a scripted engine and a real database, for Pilot tests and snapshots."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.fakes import Gate, Script, ScriptedEngine, host_of, prepare_scripted
from tests.new_store import new_store
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session import ChatSession
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.search.thread import SearchThread
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.services import Resume, Services
from ttchat_tui.ui.themes import load_themes


def paths_in(folder: Path) -> Paths:
    return Paths(
        config_dir=folder / "config",
        data_dir=folder / "data",
        cache_dir=folder / "cache",
        state_dir=folder / "state",
    )


class ChatApp:
    """The app, with the parts that tests inspect."""

    def __init__(
        self,
        folder: Path,
        script: Script | None = None,
        gate: Gate | None = None,
        *,
        config: Config | None = None,
        ui_state: UiState | None = None,
        store: ConversationStore | None = None,
        resume: Resume | None = None,
        second: tuple[Script, Gate] | None = None,
    ) -> None:
        """`second`: the engine of a second model."""
        self.paths = paths_in(folder)
        self.engine = ScriptedEngine(script, gate)
        self.host = host_of(self.engine)
        self._second, self.second_hosts = second, list[EngineHost]()
        self.store = store or new_store(self.paths.database)
        config = config or Config()
        self.session = ChatSession(
            self.store,
            self.host,
            model="scripted",
            default_sampling=config.sampling.over,
            system_prompt=config.system_prompt,
            search=(lambda: SearchThread(lambda: self.store.file))
            if self.store.mode == "read-write"
            else None,
            second_host=self._make_second if second is not None else None,
        )
        self.kept: list[UiState] = []
        services = Services(
            session=self.session,
            config=config,
            paths=self.paths,
            ui_state=ui_state or UiState(),
            save_ui_state=self.kept.append,
            resume=resume,
        )
        self.app = TtchatApp(services, *load_themes([self.paths.themes_dir]))

    def _make_second(self) -> EngineHost:
        assert self._second is not None
        host = EngineHost(ScriptedEngine(*self._second), prepare_scripted, request_ids=itertools.count(1_000))
        self.second_hosts.append(host)
        host.start()
        return host

    @property
    def screen(self) -> ChatScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    def toasts(self) -> list[str]:
        return [str(notification.message) for notification in self.app._notifications]


@asynccontextmanager
async def running(
    chat: ChatApp, size: tuple[int, int] = (120, 40), *, toasts: bool = False
) -> AsyncIterator[Pilot[None]]:
    """Run the app on a headless terminal, with sidebars mounted and the scripted model loaded. `toasts`: draw them."""
    chat.host.start()
    chat.host.load("scripted")
    try:
        chat.app._begin_batch()  # One frame at the end of the start, in place of five.
        async with chat.app.run_test(size=size, notifications=toasts) as pilot:
            await until(pilot, lambda: chat.host.state == "ready" and chat.screen.is_whole)
            chat.app._end_batch()
            await settle(pilot, chat)
            yield pilot
    finally:
        chat.session.close()
        for host in (chat.host, *chat.second_hosts):
            host.shutdown()
        chat.store.close()


async def until(pilot: Pilot[Any], condition: object, rounds: int = 400) -> None:
    """Let the app run until `condition()` holds. Fails if it never does."""
    assert callable(condition)
    for _ in range(rounds):
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("it never happened")


async def settle(pilot: Pilot[None], chat: ChatApp) -> None:
    """Process the pending engine events, and let the screen draw them."""
    chat.screen.pump.pump_once()
    await pilot.pause()


async def reply_ended(pilot: Pilot[None], chat: ChatApp) -> None:
    await until(pilot, lambda: not chat.session.is_busy)
    await settle(pilot, chat)
