"""The terminal around the full-screen app: native output stays off it, and its state is restored at the end.

Libraries in C and C++ write to file descriptors 1 and 2 whatever Python does with `sys.stdout`, and each such line
would damage the screen. While the app runs, both descriptors point to the log, and Textual draws on a duplicate of the
terminal.
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

from ttchat_tui.signals import EndingSignals

_READ_MS: Final = 1000
"""Time for a terminal on a slow link to read pending output."""
_DUMB: Final = frozenset({"", "dumb", "unknown"})
_MOUSE_MODES: Final = (1000, 1002, 1003, 1006, 1015, 1016)
_RESET: Final = (
    "\x1b[?2026l"  # ends a synchronised update that was cut short
    + "".join(f"\x1b[?{mode}l" for mode in _MOUSE_MODES)
    + "\x1b[?1004l"  # focus reports
    "\x1b[?2004l"  # bracketed paste
    "\x1b[?2048l"  # reports of the window's size
    "\x1b[<u"  # kitty's keyboard protocol; it belongs to the alternate screen, so before leaving that
    "\x1b[?1049l"  # the alternate screen
    "\x1b[?7h"  # lines wrap
    "\x1b[?25h"  # the cursor is shown
    "\x1b[0m"
)


def is_full_screen_possible(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether stdin and stdout are a terminal that can move its cursor, or a server in its place."""
    if is_drawn_by_a_server(environ):
        return True
    return environ.get("TERM", "") not in _DUMB and all(map(is_terminal, (0, 1)))


def is_drawn_by_a_server(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether descriptors 0 and 1 are pipes to a server for browsers (`ttchat-tui serve`)."""
    return bool(environ.get("TEXTUAL_DRIVER"))


def ensure_utf8() -> None:
    """Let `sys.stdout` and `sys.stderr` accept any text in any locale; what cannot be encoded becomes `?`."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):  # closed, or replaced by an object that is not a file
            cast("Any", stream).reconfigure(encoding="utf-8", errors="replace")


@contextmanager
def captured(log_path: Path, line_settings: list[Any] | None = None) -> Generator[None, None, None]:
    """In this block the terminal belongs to Textual alone.

    File descriptors 1 and 2 point to `log_path` (mode 0600). `sys.__stderr__`, where Textual draws, and
    `sys.__stdout__`, whose size it queries, point to the terminal. `EndingSignals` handles signals until the app sets its
    own handlers. An exception resets the terminal. Line settings, handlers and descriptors are always restored;
    `line_settings` are the shell's, where the current ones are not.
    A server in the terminal's place ends the app by closing the pipe to its stdin, which also happens when it dies.
    """
    attributes = line_settings or _line_settings()
    if is_drawn_by_a_server():
        threading.Thread(target=_end_with_stdin, name="stdin-watch", daemon=True).start()
    else:
        _drop_exported_size()
    with EndingSignals(), _interrupt_restored(), _native_output_in(log_path) as screen, _fault_handler():
        try:
            yield
        except BaseException:
            restore_terminal(screen.fileno())
            raise
        finally:
            _set_line_settings(attributes)


def restore_terminal(fd: int) -> None:
    """Reset every mode that Textual may have set on `fd`, if it is a terminal. Does nothing if the terminal is gone or
    does not read."""
    if is_terminal(fd) and not _is_stalled(fd):
        with suppress(OSError):
            os.write(fd, _RESET.encode())


def _drop_exported_size() -> None:
    """Remove COLUMNS and LINES from the environment if the terminal reports its size.

    Shells and readline export the size of a moment, perhaps of another terminal. Textual and Rich would draw in that
    size and ignore every resize.
    """
    with suppress(OSError):
        if all(os.get_terminal_size(1)):
            for name in ("COLUMNS", "LINES"):
                os.environ.pop(name, None)


@contextmanager
def _native_output_in(log_path: Path) -> Generator[TextIO, None, None]:
    """Point descriptors 1 and 2 to the log. Yields a stream to the terminal."""
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
    # Textual calls `shutil.get_terminal_size`, which looks at the descriptor of `sys.__stdout__`.
    sys.__stdout__ = screen  # type: ignore[misc]
    try:
        yield screen
    finally:
        sys.__stdout__, sys.__stderr__ = python_stdout, python_stderr  # type: ignore[misc]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for fd, copy in saved.items():
            # A terminal that does not read would block the exit: the last messages then go to the log.
            if not _is_stalled(copy):
                os.dup2(copy, fd)
            os.close(copy)
        with suppress(OSError):  # the terminal is gone (SIGHUP)
            screen.close()


@contextmanager
def _interrupt_restored() -> Generator[None, None, None]:
    """Restore the handler of ctrl+c, which then wakes no event loop."""
    previous = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, previous)


@contextmanager
def _fault_handler() -> Generator[None, None, None]:
    """Write the stacks of all threads to descriptor 2 when native code crashes."""
    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(2)
    try:
        yield
    finally:
        if not was_enabled:
            faulthandler.disable()


def _end_with_stdin() -> None:
    """Wait until the other end of stdin is closed, then end this process with SIGTERM."""
    hangup = select.poll()
    hangup.register(0, 0)
    hangup.poll()
    os.kill(os.getpid(), signal.SIGTERM)


def _line_settings() -> list[Any] | None:
    """The terminal's line settings (echo, line mode, …); None if stdin is not a terminal."""
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None


def _set_line_settings(attributes: list[Any] | None) -> None:
    if attributes is not None:
        with suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(0, termios.TCSANOW, attributes)


def _is_stalled(fd: int) -> bool:
    """Whether a write to `fd` would block for long: it is a terminal, and nobody reads from it."""
    if not is_terminal(fd):
        return False
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return not poll.poll(_READ_MS)


def is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False
