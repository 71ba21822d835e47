"""Textual's driver for terminals, with faults worked around.

Overrides `_sigcont_application` and `_run_input_thread` of `LinuxDriver` in Textual 8.2.8. A SIGCONT without a suspension
(after SIGSTOP, or from a supervisor) starts a second input thread, which reads half of the keys, and the app does not get to
know of it, though anything may have been written to the terminal meanwhile. Any error of the input
thread is a crash with a traceback, also when only the terminal has gone.
"""

from __future__ import annotations

import termios
import tty
from typing import Protocol, cast

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from ttchat_tui.ui.textual_patches.screen_writer import ScreenWriter

linux_driver.WriterThread = ScreenWriter


class HandlesInputErrors(Protocol):
    """An app that handles the end of the terminal's input."""

    def handle_input_error(self, error: Exception) -> None: ...


class TerminalDriver(LinuxDriver):
    """The driver of an app that `HandlesInputErrors`."""

    _is_suspended = False

    @property
    def is_behind(self) -> bool:
        """See `ScreenWriter.is_behind`."""
        return isinstance(self._writer_thread, ScreenWriter) and self._writer_thread.is_behind

    def suspend_application_mode(self) -> None:
        self._is_suspended = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        """Resume only after a suspension: a second input thread would read half of the keys."""
        if self._is_suspended:
            self._is_suspended = False
            super().resume_application_mode()

    def _sigcont_application(self, *_: object) -> None:
        if not self._is_suspended and self._auto_restart:
            if self._is_taken_away():
                self._must_signal_resume = True
                self.suspend_application_mode()
            else:
                self.send_message(self.SignalResume())
        super()._sigcont_application()

    def _is_taken_away(self) -> bool:
        """Whether a shell has changed the terminal's settings while SIGSTOP, which cannot be handled, stopped the app."""
        try:
            flags = termios.tcgetattr(self.fileno)[tty.LFLAG]
        except termios.error:  # no terminal
            return False
        return self._patch_lflag(flags) != flags

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # noqa: BLE001 - the app reports any error and exits
            self._app.call_later(cast("HandlesInputErrors", self._app).handle_input_error, error)
