"""Textual's driver for terminals, which resumes only what it has suspended, waits for no terminal that stands still, and
whose input does not end in silence."""

from __future__ import annotations

import termios
import tty
from typing import Protocol, cast

from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver

from ttchat_tui.ui.textual_patches.screen_writer import ScreenWriter

linux_driver.WriterThread = ScreenWriter


class HandlesInputErrors(Protocol):
    """An app that is called when nothing can be read from the terminal any more."""

    def handle_input_error(self, error: Exception) -> None: ...


class TerminalDriver(LinuxDriver):
    """For an app that `HandlesInputErrors`."""

    _is_suspended = False

    @property
    def is_behind(self) -> bool:
        """As `ScreenWriter.is_behind`."""
        return isinstance(self._writer_thread, ScreenWriter) and self._writer_thread.is_behind

    def suspend_application_mode(self) -> None:
        self._is_suspended = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        """Nothing if it runs: a second thread would read half of what is typed."""
        if self._is_suspended:
            self._is_suspended = False
            super().resume_application_mode()

    def _sigcont_application(self, *_: object) -> None:
        if not self._is_suspended and self._auto_restart and self._is_taken_away():
            self._must_signal_resume = True
            self.suspend_application_mode()
        super()._sigcont_application()

    def _is_taken_away(self) -> bool:
        """Whether a shell has set the terminal for itself while SIGSTOP, which nobody can handle, stopped the app."""
        try:
            flags = termios.tcgetattr(self.fileno)[tty.LFLAG]
        except termios.error:  # there is none
            return False
        return self._patch_lflag(flags) != flags

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # noqa: BLE001 - whatever it is, the app says it and ends
            self._app.call_later(cast("HandlesInputErrors", self._app).handle_input_error, error)
