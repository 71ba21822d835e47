"""The Textual app: themes, signals, one screen. `Services` brings everything that it shows."""

from __future__ import annotations

import gc
import importlib
import logging
import math
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from textual.actions import ActionParseResult
from textual.binding import Binding
from textual.dom import DOMNode
from textual.driver import Driver
from textual.events import Event, Paste
from textual.notifications import Notify, SeverityLevel
from textual.theme import Theme

from ttchat_tui.signals import ENDING
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred, style_sheets, toasts
from ttchat_tui.ui.commands import BY_NAME, TABLE, bindings, keys_label
from ttchat_tui.ui.last_resort import LastResort
from ttchat_tui.ui.loop_signals import LoopSignals
from ttchat_tui.ui.no_color import honour_no_color
from ttchat_tui.ui.palette import ActionProvider
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.services import Services
from ttchat_tui.ui.textual_patches.app import PatchedApp
from ttchat_tui.ui.textual_patches.privates import add_bindings
from ttchat_tui.ui.themes import DEFAULT_THEME, ThemeError, load_themes, theme_of_16_colors
from ttchat_tui.ui.widgets.prompt.pasted_text import clean_paste

MOUNTING_S = 1.0
"""How long an exit waits for the sidebars, which take a tenth of it. On a terminal that is gone they may never mount."""
FULL_COLLECTIONS = 100
"""Ten times as seldom as Python's own: mostly garbage is collected when nothing is typed (`PatchedApp`)."""
AGAIN_S = 2.0
"""Two presses of ctrl+c within this time quit."""

log = logging.getLogger(__name__)


class TtchatApp(PatchedApp, inherit_bindings=False):
    """A chat with a model that this program's engine runs."""

    TITLE = "ttchat"
    CSS_PATH = [*style_sheets.FIRST]
    BINDINGS = [Binding("ctrl+c", "interrupt", show=False, system=True)]
    COMMANDS = {ActionProvider}
    ENABLE_COMMAND_PALETTE = False
    """Textual's binding for the palette has priority and cannot be rebound. The action table has its own."""

    def __init__(
        self, services: Services, themes: Sequence[Theme], theme_errors: Sequence[ThemeError] = ()
    ) -> None:
        """`theme_errors`: why files of the user are not among `themes`. They are shown as soon as there is a screen."""
        super().__init__()
        honour_no_color(self)
        if self.console.color_system == "256":
            # needed on such terminals only
            importlib.import_module("ttchat_tui.ui.few_colors").honour_256_colors(self)
        self.services = services
        self._requested_return_code: int | None = None
        self._interrupted_at = -math.inf
        self._signals: LoopSignals | None = None
        self._last_resort = LastResort()
        self.use_command_palette = True
        add_bindings(self, bindings(TABLE, services.config.keys, "app"))
        for theme in themes:
            self.register_theme(theme)
        self._theme_errors = list(map(str, theme_errors))
        self._watches_themes = False
        self._requested_theme = services.config.ui.theme or services.ui_state.theme or DEFAULT_THEME
        theme = self._requested_theme if self._requested_theme in self.available_themes else DEFAULT_THEME
        if self.console.color_system == "standard":
            theme = theme_of_16_colors(self.available_themes[theme])
        self.theme = theme
        if services.config.ui.reduced_motion:
            self.animation_level = "none"

    def handle_input_error(self, error: Exception) -> None:
        """Exit, since the user no longer can. A terminal that is gone is not an error of this program."""
        if isinstance(error, OSError):
            self._leave(128 + signal.SIGHUP)
        else:
            self._handle_exception(error)

    def handle_closed_page(self) -> None:
        """Exit as on ctrl+q."""
        self._leave(0)

    def run(self, **options: Any) -> None:
        """Run the app to its end. Raises SystemExit if it does not end by itself after a signal, or without its terminal."""
        try:
            with self._last_resort:
                super().run(**options)
        except SystemExit:
            self.stop_input()
            raise

    @property
    def is_leaving(self) -> bool:
        return self._requested_return_code is not None

    def get_default_screen(self) -> ChatScreen:
        return ChatScreen(self.services)

    def on_chat_screen_begun(self) -> None:
        self.open_key_gate()

    def on_load(self) -> None:
        self.services.before_terminal_takeover()

    def on_mount(self) -> None:
        self._install_signal_handlers()  # again: the driver may have set its own
        self.on_chat_actions_themes_read()
        # Modules imported by now are never freed: the collector need not scan them again. The caller of the app has
        # disabled collection until here.
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTIONS)
        gc.enable()

    def on_app_focus(self) -> None:
        """Focus the prompt if nothing has the focus: a page in a browser starts without one. Read what could not be read."""
        self.call_later(self._focus_prompt_if_nothing_is)  # after Textual's own handler
        self.call_later(self.chat.read_again)

    def _focus_prompt_if_nothing_is(self) -> None:
        if self.screen is self.chat and self.screen.focused is None:
            self.chat.prompt.focus()

    async def on_event(self, event: Event) -> None:
        """Remove invisible characters and escape sequences from a paste before any field gets it."""
        if isinstance(event, Paste) and not event.is_forwarded:
            text, hidden = clean_paste(event.text)
            event = Paste(text)
            if hidden:
                what = "1 invisible character was" if hidden == 1 else f"{hidden:,} invisible characters were"
                self.notify(f"{what} removed from the paste.", severity="warning", markup=False)
        await super().on_event(event)

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Report what an action cannot read: messages are read when they are wanted."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except StorageError as error:
            self.chat.show_error(error.info)
            return True

    def copy_to_clipboard(self, text: str) -> None:
        """Copy by every available way. Textual's fields and ctrl+c call this; Textual itself only sends OSC 52."""
        self.chat.copy(text)

    def action_interrupt(self) -> None:
        """ctrl+c without a selection: stop the reply. If none runs, two presses in a row quit."""
        if self.chat.session.is_answering:
            self.chat.action_stop()
        elif time.monotonic() - self._interrupted_at < AGAIN_S:
            self._leave(0)
        else:
            self._interrupted_at = time.monotonic()
            keys = keys_label(BY_NAME["quit"], self.services.config.keys)
            self.notify(f"Press ctrl+c again to quit; {keys} quits too.", timeout=AGAIN_S, markup=False)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a toast. Without a `timeout` it stays as long as it takes to read."""
        timeout = toasts.reading_time(message) if timeout is None else timeout
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=markup)

    def on_notify(self, event: Notify) -> None:
        """Make room for a new toast. Textual's own handler adds it afterwards."""
        for old in toasts.to_drop(self.shown_toasts(), event.notification, self.size.height):
            self.remove_toast(old)
        screen = next(reversed(self._screen_stack), None)  # none while the app ends
        if isinstance(screen, toasts.PlacesToasts):
            screen.place_toasts([*self.shown_toasts(), event.notification])

    def drop_stale_toasts(self, *, with_errors: bool = False) -> None:
        """Remove toasts about what the user has dealt with. Errors stay their time, or go `with_errors`."""
        for old in self.shown_toasts():
            if with_errors or (old.severity != "error" and old.title != toasts.INTERRUPTED):
                self.remove_toast(old)

    def action_help(self) -> None:
        """Explain the screen that is shown; on the help itself, close it."""
        if isinstance(self.screen, deferred.help.HelpScreen):
            self.screen.action_cancel()
            return
        config = self.services.config
        ui = config.ui
        prompt_keys = {"send": ",".join(ui.submit_keys), "newline": ",".join(ui.newline_keys)}
        about = None if self.screen is self.chat else self.screen
        around = self.focused.ancestors_with_self if self.focused is not None else ()
        place = next(filter(None, (getattr(node, "help_title", "") for node in around)), "")
        self.push_screen(deferred.help.HelpScreen({**config.keys, **prompt_keys}, ui.editing, about, place))

    async def action_quit(self) -> None:
        """Quit, from any screen or dialog."""
        self._leave(0)

    def _leave(self, return_code: int) -> None:
        """Store the draft and exit once the sidebars are mounted, after `MOUNTING_S` at the latest; a second call exits at
        once.

        Textual treats widgets that are removed while they mount as a crash.
        """
        is_repeated = self._requested_return_code is not None
        if is_repeated and return_code == 128 + signal.SIGHUP:
            return  # the kernel and the shell each send one
        self._requested_return_code = return_code
        if not self.screen_stack:
            self.exit(return_code=return_code)
            return
        self.chat.keep_draft()
        if self.chat.is_whole or is_repeated:
            self.exit(return_code=return_code)
        else:
            self.set_timer(MOUNTING_S, self.on_chat_screen_completed)

    def on_chat_screen_completed(self) -> None:
        """Exit if that was requested meanwhile; otherwise import the modules that the first frame did not need."""
        if self._requested_return_code is not None:
            self.exit(return_code=self._requested_return_code)
        else:
            self._show_theme_errors()
            self.run_worker(self._import_the_rest(), group="imports")

    async def _import_the_rest(self) -> None:
        await deferred.import_all()
        gc.freeze()  # see `on_mount`
        self.chat.start_search()
        self.chat.read_prompts()

    @property
    def chat(self) -> ChatScreen:
        screen = self.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    def _show_theme_errors(self) -> None:
        """Report errors in the user's themes, and a chosen theme that does not exist."""
        problems = list(self._theme_errors)
        if self._requested_theme not in self.available_themes:
            problems.append(
                f"There is no theme {self._requested_theme}; {self.theme} is used. /theme lists all themes."
            )
        if problems:
            self.notify("\n".join(problems), title="Theme", severity="warning", timeout=10, markup=False)

    def on_chat_actions_themes_read(self) -> None:
        """Watch the user's themes, once their folder exists."""
        if not self._watches_themes and self.services.paths.themes_dir.is_dir():
            self._watches_themes = True
            self.run_worker(self._reload_themes(), group="themes", exit_on_error=False)

    async def _reload_themes(self) -> None:
        """Apply the user's themes again whenever their files change."""
        folder = self.services.paths.themes_dir
        async for _ in deferred.file_watch.changes(folder):
            themes, errors = load_themes([folder])
            for theme in themes:
                self.register_theme(theme)
            known, self._theme_errors = self._theme_errors, list(map(str, errors))
            for error in self._theme_errors:
                if error not in known:
                    self.notify(error, title="Theme", severity="warning", markup=False)
            self.refresh_css(animate=False)

    def on_driver_built(self, driver: Driver) -> None:
        if not driver.is_headless:
            self._signals = LoopSignals(lambda number: self._leave(128 + number), self._last_resort.ask)
            self._install_signal_handlers()

    def _install_signal_handlers(self) -> None:
        """Exit on a signal as on ctrl+q, with terminal, engine and conversation in order."""
        if self._signals is not None:
            self._signals.handle((signal.SIGINT, *ENDING))
