"""stdout and stderr: the one place where text is written, and made visible. A reader that goes away (`| head`) is no
error, a full disk is one; a failed write to stderr is ignored."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO, cast

import msgspec

from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.text import VisibleStream, json_escaped, visible, visible_line

LEAST_FILES: Final = 40
"""Open at once while a chat runs on the full screen and its engine starts."""
WANTED_FILES: Final = 256
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class VisibleText(io.TextIOWrapper):
    """A standard stream that makes visible what a terminal would obey, whoever writes: this program, the parser of its
    command line, a log, a traceback. UTF-8 in any locale."""

    def __init__(self, stream: TextIO, *, is_lossy: bool = False) -> None:
        """Replaces `stream`, on its buffer. `is_lossy`: a failed write is ignored."""
        super().__init__(
            cast("Any", stream.buffer),
            encoding="utf-8",
            errors="replace",
            line_buffering=bool(getattr(stream, "line_buffering", False)),
            write_through=bool(getattr(stream, "write_through", False)),
        )
        self.replaced: Final = stream
        """Kept, because its finaliser would close the buffer."""
        self._shown = VisibleStream()
        self._is_lossy = is_lossy

    def write(self, text: str, /) -> int:
        try:
            super().write(self._shown.take(text.replace("\r\n", "\n")))
        except OSError:
            self._lose()
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._lose()

    def _lose(self) -> None:
        """Drop what cannot be written; without `is_lossy` the error is raised again."""
        if not self._is_lossy:
            raise
        _lead_nowhere(self.fileno())


def ensure_streams() -> None:
    """Open stdin, stdout and stderr on /dev/null where the program was started without them (`>&-`): no file that is opened
    later takes the descriptor, and libraries in C write to 1 and 2 whatever they are. From now on output is made
    visible, and input is UTF-8 with any line ends."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
    cast("io.TextIOWrapper", sys.stdin).reconfigure(encoding="utf-8", errors="replace", newline=None)
    sys.stdout, sys.stderr = VisibleText(sys.stdout), VisibleText(sys.stderr, is_lossy=True)


def require_files() -> None:
    """Raise the limit of open files as far as is wanted and allowed; refuse to start with too few.

    Raises:
        OSError: EMFILE.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < WANTED_FILES:
        allowed = WANTED_FILES if most < 0 else min(most, WANTED_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if 0 <= allowed < LEAST_FILES:
        raise OSError(errno.EMFILE, f"{allowed} are allowed, and {LEAST_FILES} needed")


@contextmanager
def visible_streams() -> Generator[None, None, None]:
    """Visible streams, as after `ensure_streams`, for a program that calls the command line itself."""
    if isinstance(sys.stdout, VisibleText):
        yield
        return
    stdout, stderr = sys.stdout, sys.stderr
    shown = VisibleText(stdout), VisibleText(stderr, is_lossy=True)
    sys.stdout, sys.stderr = shown
    try:
        yield
    finally:
        sys.stdout, sys.stderr = stdout, stderr
        for stream in shown:
            with suppress(OSError, ValueError):
                stream.detach()


def write_line(text: str) -> None:
    """A line for a person, on stdout."""
    sys.stdout.write(f"{visible_line(text)}\n")


def write_json(value: object) -> None:
    """One JSON document on stdout, a line. A byte of a file's name that is not UTF-8 is in it as a
    surrogate."""
    try:
        document = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        document = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    sys.stdout.write(f"{json_escaped(document)}\n")


def write_path(path: Path) -> None:
    """A path on stdout, for a script to take: byte for byte where no terminal shows it."""
    if sys.stdout.isatty():
        write_line(str(path))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")


def redraw(line: str) -> None:
    """Replace the current line of stderr, a terminal, with `line`."""
    with suppress(OSError):
        sys.stderr.flush()
        sys.stderr.buffer.write(b"\r" + visible(line).encode("utf-8", "replace"))
        sys.stderr.buffer.flush()


def flush_output() -> None:
    """Write out what stdout still holds; nothing where there is no stdout.

    Raises:
        BrokenPipeError: the reader has gone.
        OSError: the disk is full, or worse.
    """
    with suppress(AttributeError, ValueError):  # started without one, or closed
        sys.stdout.flush()


def abandon_output() -> None:
    """Lead stdout and stderr to /dev/null where they cannot be flushed, as Python's note on SIGPIPE advises: the interpreter
    flushes both at its end, and would complain and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _lead_nowhere(stream.fileno())
        except (AttributeError, ValueError):
            continue


def unwritable(error: OSError) -> ErrorInfo | None:
    """The error to report when a write failed for lack of space; None for any other reason."""
    if error.errno not in _FULL:
        return None
    return ErrorInfo(
        kind="no_space",
        message=f"{error.filename or 'The output'} could not be written: {error.strerror}.",
        cure="Free some space, or write elsewhere.",
    )


def _lead_nowhere(descriptor: int) -> None:
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
