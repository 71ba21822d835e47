"""The Textual app: themes, signals, one screen. Everything it shows comes in as `Services`."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Sequence

from textual.app import App
from textual.theme import Theme

from ttchat_tui.ui.palette import ActionProvider
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.themes import DEFAULT_THEME

STYLES = ("shell", "controls", "transcript", "chat")

log = logging.getLogger(__name__)


class TtchatApp(App[None]):
    """A chat with a model that runs in this program's engine."""

    TITLE = "ttchat"
    CSS_PATH = [f"styles/{name}.tcss" for name in STYLES]
    COMMANDS = {ActionProvider}
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, services: Services, themes: Sequence[Theme]) -> None:
        super().__init__()
        self.services = services
        for theme in themes:
            self.register_theme(theme)
        wanted = services.config.ui.theme or services.ui_state.theme
        self.theme = wanted if wanted in self.available_themes else DEFAULT_THEME
        if services.config.ui.reduced_motion:
            self.animation_level = "none"

    def get_default_screen(self) -> ChatScreen:
        return ChatScreen(self.services)

    def on_mount(self) -> None:
        self._exit_on_signals()
        # What is imported by now stays for good: no collection needs to look at it again.
        gc.freeze()

    def _exit_on_signals(self) -> None:
        """A polite kill leaves by the same door as ctrl+q: the terminal, the engine and the conversation are whole."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            try:
                loop.add_signal_handler(number, self._leave, number)
            except (RuntimeError, ValueError, NotImplementedError) as error:
                log.info("no handler for signal %s: %s", number, error)

    def _leave(self, number: int) -> None:
        self.exit(return_code=128 + number)
