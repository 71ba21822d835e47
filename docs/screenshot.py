"""Take the pictures for the README: the real app with the real model, on a headless terminal.

.venv/bin/python docs/screenshot.py [folder]      writes *.svg to docs/images, or to the folder
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from textual.pilot import Pilot

from ttchat_tui.cli.chat import open_session
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import Paths, find_paths
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.events import GenerationEvent, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.engine.factory import create_engine
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.models.choice import DEFAULT
from ttchat_tui.signals import EndingSignals
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.themes import load_themes

QUESTIONS = (
    "Write a Python class for a stack with push, pop and peek, then explain each method.",
    "Write a short Python function that reverses a string, then explain it in one sentence.",
)
TOKENS_IN_MID_REPLY = 262
PICTURES = (
    ("streaming", (140, 40), "tenstorrent-dark", True),
    ("light", (120, 36), "tenstorrent-light", False),
    ("small", (60, 20), "tenstorrent-dark", False),
)


class PausingEngine(SwitchingEngine):
    """The real engine with a pause after `tokens` tokens of a reply, until `resume` is set."""

    def __init__(self, tokens: int) -> None:
        """`tokens`: 0 for no pause."""
        super().__init__(create_engine)
        self.tokens = tokens
        self.is_paused = threading.Event()
        self.resume = threading.Event()

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        tokens = 0
        for event in super().generate(request, control):
            yield event
            tokens += len(event.token_ids) if isinstance(event, TokenEvent) else 0
            if 0 < self.tokens <= tokens and not self.is_paused.is_set():
                self.is_paused.set()
                self.resume.wait()


async def picture(
    name: str, size: tuple[int, int], theme: str, in_mid_reply: bool, paths: Paths, to: Path
) -> None:
    invocation = Invocation(
        flags={"ui.theme": theme, "sampling.seed": 7},
        config_file=None, paths=paths, prompt=None, output="text", save=True, resume=False, plain=False,
    )  # fmt: skip
    config = load_config(paths, environ={}, flags=invocation.flags)
    screen_ready = threading.Event()
    screen_ready.set()
    engine = PausingEngine(TOKENS_IN_MID_REPLY if in_mid_reply else 0)
    with open_session(invocation, config, DEFAULT, engine, screen_ready, EndingSignals()) as session:
        services = Services(
            session=session, config=config, paths=paths, ui_state=UiState(),
            save_ui_state=lambda state: None,
        )  # fmt: skip
        app = TtchatApp(services, load_themes([])[0])
        try:
            async with app.run_test(size=size) as pilot:
                screen = app.screen_stack[0]
                assert isinstance(screen, ChatScreen)
                await until(pilot, lambda: screen.is_whole and screen.metrics.phase == "ready")
                for number, question in enumerate(QUESTIONS[: 1 if in_mid_reply else 2], 1):
                    screen.prompt.set_draft(question)
                    await pilot.press("enter")
                    await until(pilot, lambda wanted=2 * number: len(session.path) == wanted)
                    await until(pilot, lambda: engine.is_paused.is_set() or not session.is_busy)
                    assert session.is_busy is in_mid_reply, "the reply ended before its picture was taken"
                    await until(pilot, lambda: session.meter.completion_tokens >= engine.tokens)
                    await pilot.pause(0.5)  # for the last figures and rows
                app.save_screenshot(f"{name}.svg", path=str(to))
                session.stop()
        finally:
            engine.resume.set()


async def until(pilot: Pilot[None], condition: object) -> None:
    assert callable(condition)
    while not condition():
        await pilot.pause(0.05)


def main() -> None:
    to = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images")
    to.mkdir(exist_ok=True)
    models = find_paths(os.environ).cache_dir
    for name, size, theme, in_mid_reply in PICTURES:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            paths = Paths(config_dir=here / "c", data_dir=here / "d", cache_dir=models, state_dir=here / "s")
            asyncio.run(picture(name, size, theme, in_mid_reply, paths, to))
        sys.stdout.write(f"{to / name}.svg\n")


if __name__ == "__main__":
    main()
