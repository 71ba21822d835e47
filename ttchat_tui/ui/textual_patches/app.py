"""`App` with Textual's faults (8.2.8) worked around: order of input, slow terminals, toasts, errors.

`App` has no public hook for any of these. Each method names the private part that it overrides or uses, and the fault.
"""

from __future__ import annotations

import gc
import importlib
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from rich.console import RenderableType
from textual import on
from textual.app import App
from textual.await_remove import AwaitRemove
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message
from textual.notifications import Notification
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, TextArea
from textual.widgets._toast import ToastRack

from ttchat_tui.ui.textual_patches import contested_widths as contested_widths  # wraps a method of Textual's
from ttchat_tui.ui.textual_patches import mounting as mounting  # replaces a method of Textual's
from ttchat_tui.ui.textual_patches import one_shot_timer as one_shot_timer  # replaces Textual's
from ttchat_tui.ui.textual_patches import paste_parser
from ttchat_tui.ui.textual_patches import strip_caches as strip_caches  # replaces a method of Textual's
from ttchat_tui.ui.textual_patches import style_rules as style_rules  # replaces a method of Textual's
from ttchat_tui.ui.textual_patches import undo_of_long_text as undo_of_long_text
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen
from ttchat_tui.ui.textual_patches.key_gate import GATED, KeyGate
from ttchat_tui.ui.textual_patches.terminal_driver import TerminalDriver

CATCH_UP_S: Final = 0.05
"""Time between two checks of a terminal that does not keep up."""

QUIET_S: Final = 0.5
"""Without input for so long, a short pause is not felt."""

log = logging.getLogger(__name__)


class PatchedApp(App[None]):
    """The base of the app."""

    def __init__(self) -> None:
        super().__init__()
        self._key_gate = KeyGate(
            lambda: (self, *self._registry),
            self.post_message,
            lambda: isinstance(self.focused, TextArea | Input),
        )
        self._will_catch_up = False
        """Frames were skipped."""
        self._collection: Timer | None = None
        self._input_s = -math.inf
        """When input came last."""

    # --- input

    def get_driver_class(self) -> type[Driver]:
        """The drivers of this package in place of Textual's for Linux and for a browser."""
        usual = super().get_driver_class()
        if usual.__module__ == paste_parser.WEB_DRIVER:
            return importlib.import_module("ttchat_tui.ui.textual_patches.browser_driver").BrowserDriver
        return TerminalDriver if usual is LinuxDriver else usual

    def on_driver_built(self, driver: Driver) -> None:
        """The driver exists and has not started yet."""

    def _build_driver(
        self, headless: bool, inline: bool, mouse: bool, size: tuple[int, int] | None
    ) -> Driver:
        """Calls `on_driver_built`: signal handlers must be there before the driver starts its threads."""
        driver = super()._build_driver(headless=headless, inline=inline, mouse=mouse, size=size)
        self.on_driver_built(driver)
        return driver

    async def _post_message(self, message: Message) -> bool:
        """Sends input through the `KeyGate`, which describes the fault. Textual's drivers post all input here."""
        if not isinstance(message, GATED):
            return self.post_message(message)
        self._input_s = time.monotonic()
        self._key_gate.accept(message)
        return True

    def stop_input(self) -> None:
        """End the input thread, which the process would wait for, where the driver was not stopped."""
        if isinstance(self._driver, TerminalDriver):
            self._driver.exit_event.set()

    def open_key_gate(self) -> None:
        """There is a screen now: let input in."""
        self._key_gate.begin()

    def on_unmount(self) -> None:
        self._key_gate.close()

    # --- drawing

    if not TYPE_CHECKING:  # the overloads stay

        def push_screen(self, *args: Any, **options: Any) -> Any:
            """The screen that another one covers is not changed by that. Textual renders all of it again first."""
            below = self.screen_stack[-1] if self.screen_stack else None
            if not isinstance(below, DirtySpanScreen):
                return super().push_screen(*args, **options)
            below.is_being_covered = True
            try:
                return super().push_screen(*args, **options)
            finally:
                below.is_being_covered = False

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Draws nothing while the terminal does not keep up, and the whole screen once it does.

        Textual queues every frame: on a slow link the screen falls behind what is typed, and its writer blocks the app.
        """
        if not self._is_terminal_behind():
            super()._display(screen, renderable)
        elif not self._will_catch_up:
            self._will_catch_up = True
            self.set_timer(CATCH_UP_S, self._catch_up)

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """The process was stopped, and the terminal may show anything. Textual waits for a `Resize`, which lays out the screen
        again only where its size is another."""
        self.refresh()

    def _catch_up(self) -> None:
        if self._is_terminal_behind():
            self.set_timer(CATCH_UP_S, self._catch_up)
        else:
            self._will_catch_up = False
            self.refresh()

    def _is_terminal_behind(self) -> bool:
        return isinstance(self._driver, TerminalDriver) and self._driver.is_behind

    def refresh_css(self, animate: bool = True) -> None:
        """Before there is a screen, only the variables are set: the style sheets are parsed with the screen. Textual parses
        them twice, which delays the first frame by 11 ms."""
        if self.screen_stack:
            super().refresh_css(animate)
        else:
            self.stylesheet.set_variables(self.get_css_variables())

    def update_styles(self, node: DOMNode, animate: bool = True) -> None:
        """Leaves out a widget that is not mounted yet, which is styled when it is. Textual styles it for each class that its
        constructor sets: a button three times."""
        if node is self or node.parent is not None:
            super().update_styles(node, animate)

    def _prune(self, *nodes: Widget, parent: DOMNode | None = None) -> AwaitRemove:
        """A screen that is removed changes nothing on the others. Textual lays out and draws the one below it again, twice."""
        self._collect_later()
        return super()._prune(*nodes, parent=None if parent is self else parent)

    # --- memory

    def _collect_later(self) -> None:
        """Have garbage collected once no input has come for `QUIET_S`.

        Removed widgets are cycles. Python looks for old ones at any time: 25 to 80 ms in which keys wait, since the collections
        are few and each frees the widgets of many dialogs and messages.
        """
        if self._collection is None and self._running and not self._exit:
            self._collection = self.set_timer(QUIET_S, self._collect_if_quiet)

    def _collect_if_quiet(self) -> None:
        self._collection = None
        if time.monotonic() - self._input_s < QUIET_S:
            self._collect_later()
        elif gc.isenabled():  # while a reply streams, nothing is collected
            gc.collect()

    # --- toasts

    def shown_toasts(self) -> list[Notification]:
        """The notifications on screen, oldest first."""
        return list(self._notifications)

    def remove_toast(self, notification: Notification) -> None:
        """Remove a toast before its time. Textual's own `_unnotify` leaves the toast's empty holder on screen."""
        self._unnotify(notification, refresh=False)
        for screen in self.screen_stack:
            screen.query(f"#{ToastRack._toast_id(notification)}").remove()

    def _refresh_notifications(self) -> None:
        """Shows toasts on the screen on top only. Textual leaves them on the screens under a dialog, too."""
        for screen in self.screen_stack[:-1]:
            for rack in screen.query_children(ToastRack):
                rack.display = False
        super()._refresh_notifications()

    # --- errors

    @property
    def is_leaving(self) -> bool:
        """The app has been asked to exit."""
        return False

    @property
    def crash(self) -> Exception | None:
        """The error in this program's own code that ended the app."""
        return self._exception

    def _handle_exception(self, error: Exception) -> None:
        """Logs errors of widgets that were mounting when the app exited. Textual reports them as a crash, and changes the
        exit code."""
        if not self.is_leaving or not self._exit:
            super()._handle_exception(error)
        else:
            log.warning("while leaving", exc_info=error)
            self._close_messages_no_wait()

    async def _shutdown(self) -> None:
        """Ends the workers first. Textual removes widgets that they still draw on."""
        self.workers.cancel_all()
        await super()._shutdown()

    def _fatal_error(self) -> None:
        """Writes the traceback to the log only. Textual prints it in colour with the values of all variables, which include
        what the user wrote."""
        log.critical("the app ends", exc_info=self._exception)
        self.bell()
        self._close_messages_no_wait()
