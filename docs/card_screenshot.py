"""Take the picture for docs/tenstorrent.md: the app during a reply, with its engine in the child process, over real ttnn
on a mock N150 and a tt-metal checkout.

TT_METAL_HOME=… .venv-tt/bin/python docs/card_screenshot.py [folder]     after `make test-tt` has made the venv

The mock card computes nothing, so every token is "!". Its sensors are a fake tree of the driver's files.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.engine.tenstorrent.fake_system import FakeSystem
from tests.tt.conftest import mock_card
from tests.tt.tiny_llama import write_model
from ttchat_tui.cli import engine_choice
from ttchat_tui.cli.chat import open_session
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.signals import EndingSignals
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.themes import load_themes

SIZE = (120, 40)


async def picture(folder: Path, to: Path) -> None:
    paths = Paths(
        config_dir=folder / "c", data_dir=folder / "d", cache_dir=folder / "m", state_dir=folder / "s"
    )
    model = str(write_model(folder))
    screen_ready = threading.Event()
    screen_ready.set()
    invocation = Invocation(
        flags={
            "model.engine": "tt",
            "model.context_length": 1024,
            "sampling.temperature": 0.0,
            "tt.trace": False,
        },
        config_file=None, paths=paths, prompt=None, output="text", save=True, resume=False, plain=False,
    )  # fmt: skip
    config = load_config(paths, environ={}, flags=invocation.flags)
    engine = IsolatedEngine(folder / "engine.log", timeouts=engine_choice.timeouts(config))
    with open_session(invocation, config, model, engine, screen_ready, EndingSignals()) as session:
        services = Services(
            session=session, config=config, paths=paths, ui_state=UiState(),
            save_ui_state=lambda state: None, read_cards=System.of(os.environ).read_cards,
        )  # fmt: skip
        app = TtchatApp(services, load_themes([])[0])
        async with app.run_test(size=SIZE) as pilot:
            await until(pilot, lambda: session.engine_state == "ready")
            screen = app.screen_stack[0]
            assert isinstance(screen, ChatScreen)
            screen.prompt.set_draft("What is a mesh device?")
            await pilot.press("enter")
            await until(pilot, lambda: session.meter.completion_tokens > 60 or not session.is_busy)
            await pilot.pause(1.5)
            app.save_screenshot("mock-card.svg", path=str(to))
            session.stop()
            await until(pilot, lambda: not session.is_busy)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    while not condition():
        await pilot.pause(0.05)


def main() -> None:
    to = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        system = FakeSystem(folder / "root")
        system.add_n150()
        os.environ |= {**mock_card("wormhole_n150"), SYSTEM_ROOT: str(system.root), "MESH_DEVICE": "N150"}
        asyncio.run(picture(folder, to))
    sys.stdout.write(f"{to / 'mock-card.svg'}\n")


if __name__ == "__main__":
    main()
