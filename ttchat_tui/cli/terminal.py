"""The terminal around the full-screen app: native output kept off it, and the terminal itself given back as it was.

Libraries in C and C++ write to file descriptors 1 and 2 whatever Python does with `sys.stdout`; on a screen that is
drawn cell by cell, each such line is a scar. While the app runs, both descriptors lead to the log, and Textual draws
on a duplicate of the terminal.
"""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO, cast

from ttchat_tui.engine.runtime.child import STACKS_SIGNAL
from ttchat_tui.signals import EndingSignals

_READ_MS: Final = 1000
"""A terminal at a slow link has so long to read what came last."""
_DUMB: Final = frozenset({"", "dumb", "unknown"})
_MOUSE_MODES: Final = (1000, 1002, 1003, 1006, 1015, 1016)
_RESET: Final = (
    "\x1b[?2026l"  # end of a synchronised update that was cut short
    + "".join(f"\x1b[?{mode}l" for mode in _MOUSE_MODES)
    + "\x1b[?1004l"  # focus reports
    "\x1b[?2004l"  # bracketed paste
    "\x1b[?2048l"  # reports of the window's size
    "\x1b[<u"  # kitty's keyboard protocol: belongs to the alternate screen, so before leaving it
    "\x1b[?1049l"  # the alternate screen
    "\x1b[?7h"  # lines wrap
    "\x1b[?25h"  # the cursor is shown
    "\x1b[0m"
)


def is_full_screen_possible(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a terminal to draw on and to read keys from that can move its cursor, or a server in its place."""
    if is_drawn_by_a_server(environ):
        return True
    return environ.get("TERM", "") not in _DUMB and all(map(_is_terminal, (0, 1)))


def is_drawn_by_a_server(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether descriptors 0 and 1 are pipes to a server that draws in a browser (`ttchat-tui serve`)."""
    return bool(environ.get("TEXTUAL_DRIVER"))


def ensure_utf8() -> None:
    """Let `sys.stdout` and `sys.stderr` take any text, in whatever locale; what cannot be encoded becomes `?`."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # replaced by something that is no file, or closed
            cast("Any", stream).reconfigure(encoding="utf-8", errors="replace")


@contextmanager
def captured(log_path: Path, line_settings: list[Any] | None = None) -> Generator[None, None, None]:
    """While this lasts, the terminal belongs to Textual alone.

    File descriptors 1 and 2 lead to `log_path` (mode 0600); `sys.__stderr__`, where Textual draws, and
    `sys.__stdout__`, whose size it asks for, to the terminal. Signals are `EndingSignals`, until the app sets handlers of
    its own. Left by an exception, it resets the terminal; in any case its line settings, the handlers and the descriptors
    are as before (line settings: those given as `line_settings`, where the present ones are not the shell's).
    A server in the terminal's place ends the app by closing the pipe to its stdin, however the server itself ended.
    """
    attributes = line_settings or _line_settings()
    if is_drawn_by_a_server():
        threading.Thread(target=_end_with_stdin, name="stdin-watch", daemon=True).start()
    with EndingSignals(), _interrupt_kept(), _native_output_in(log_path) as screen, _faults_told():
        try:
            yield
        except BaseException:
            restore_terminal(screen.fileno())
            raise
        finally:
            _set_line_settings(attributes)


def restore_terminal(fd: int) -> None:
    """Leave every mode that Textual may have set on `fd`, if it is a terminal. One that is gone is no error, and for one that
    stands still nobody waits."""
    if _is_terminal(fd) and not _stands_still(fd):
        with suppress(OSError):
            os.write(fd, _RESET.encode())


@contextmanager
def _native_output_in(log_path: Path) -> Generator[TextIO, None, None]:
    """Point descriptors 1 and 2 to the log; gives the terminal as a stream of its own."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    saved = {1: os.dup(1), 2: os.dup(2)}
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    screen = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="replace")
    python_stdout, python_stderr = sys.__stdout__, sys.__stderr__
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(log_fd)
    sys.__stderr__ = screen  # type: ignore[misc]
    # Textual asks `shutil.get_terminal_size`, which asks the descriptor of `sys.__stdout__`.
    sys.__stdout__ = screen  # type: ignore[misc]
    try:
        yield screen
    finally:
        sys.__stdout__, sys.__stderr__ = python_stdout, python_stderr  # type: ignore[misc]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, copy in saved.items():
            # If it stands still, what is still to be said goes to the log: the app would never end.
            if not _stands_still(copy):
                os.dup2(copy, fd)
            os.close(copy)
        with suppress(OSError):  # the terminal is gone (SIGHUP)
            screen.close()


@contextmanager
def _interrupt_kept() -> Generator[None, None, None]:
    """Ctrl+c interrupts again, as before, and no event loop is woken any more."""
    previous = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _faults_told() -> Generator[None, None, None]:
    """Stacks of all threads to descriptor 2 when native code crashes, and when `STACKS_SIGNAL` asks what a screen that
    stands still waits for."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(2)
    faulthandler.register(STACKS_SIGNAL, 2, all_threads=True)
    try:
        yield
    finally:
        faulthandler.unregister(STACKS_SIGNAL)
        if not was_enabled:
            faulthandler.disable()


def _end_with_stdin() -> None:
    """Wait until nobody holds the other end of stdin, then end this process as politely as SIGTERM does."""
    hangup = select.poll()
    hangup.register(0, 0)
    hangup.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def _line_settings() -> list[Any] | None:
    """The terminal's line settings (echo, line mode, …); None where stdin is no terminal."""
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _set_line_settings(attributes: list[Any] | None) -> None:
    if attributes is not None:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSANOW, attributes)


def _stands_still(fd: int) -> bool:
    """Whether a write to `fd` would wait for long: the terminal is there, and nobody reads what it shows."""
    if not _is_terminal(fd):
        return False
    takes = select.poll()
    takes.register(fd, select.POLLOUT)
    return not takes.poll(_READ_MS)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
