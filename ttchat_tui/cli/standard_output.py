"""stdout and stderr, with control characters made visible.

A reader that closes the pipe (`| head`) is not an error, a full disk is one. A failed write to stderr is ignored.
"""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO, cast

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.text import VisibleStream, json_escaped, visible, visible_line

LEAST_FILES: Final = 40
"""Files that a full-screen chat has open while its engine starts."""
WANTED_FILES: Final = 256
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class VisibleText(io.TextIOWrapper):
    """A standard stream, UTF-8 in any locale, that shows control characters instead of sending them: those of this program,
    of the command line's parser, of a log or a traceback."""

    def __init__(self, stream: TextIO, *, is_lossy: bool = False) -> None:
        """Take over the buffer of `stream`. `is_lossy`: ignore a failed write."""
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
            super().write(self._shown.feed(text.replace("\r\n", "\n")))
        except OSError:
            self._drop_failed_write()
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            self._drop_failed_write()

    def _drop_failed_write(self) -> None:
        """Drop what cannot be written; without `is_lossy` raise the error again."""
        if not self._is_lossy:
            raise
        _redirect_to_null(self.fileno())


def ensure_streams() -> None:
    """Prepare stdin, stdout and stderr: output shows control characters, input is UTF-8 with any line ends.

    A stream that the program was started without (`>&-`) is opened on /dev/null. Otherwise a file that is opened later
    could get its descriptor, and libraries in C write to 1 and 2 whatever they are.
    """
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
    """Raise the limit of open files to `WANTED_FILES` where allowed.

    Raises:
        OSError: EMFILE, if fewer than `LEAST_FILES` are allowed.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= allowed < WANTED_FILES:
        allowed = WANTED_FILES if most < 0 else min(most, WANTED_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if 0 <= allowed < LEAST_FILES:
        raise OSError(errno.EMFILE, f"{allowed} are allowed, {LEAST_FILES} are needed")


@contextmanager
def visible_streams() -> Generator[None, None, None]:
    """In this block stdout and stderr are as after `ensure_streams`, for a program that calls the command line itself."""
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
    """Write a line for a person to stdout."""
    sys.stdout.write(f"{visible_line(text)}\n")


def write_json(value: object) -> None:
    """Write one JSON document to stdout, on one line. Bytes of file names that are not UTF-8 appear as surrogates."""
    try:
        document = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        document = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
    sys.stdout.write(f"{json_escaped(document)}\n")


def write_styled(parts: Iterable[tuple[str, str]]) -> None:
    """Write a line to stdout, which is a terminal: texts with their style, as parameters of SGR; empty: none."""
    line = "".join(f"\x1b[{style}m{visible(text)}\x1b[m" if style else visible(text) for text, style in parts)
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "replace"))
    sys.stdout.buffer.flush()


def write_document(text: str) -> None:
    """Write a document to stdout: unchanged for a file or a program, with visible control characters on a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(visible(text))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))


def write_path(path: Path) -> None:
    """Write a path to stdout, for scripts: byte for byte unless stdout is a terminal."""
    if sys.stdout.isatty():
        write_line(str(path))
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")


def redraw(line: str) -> None:
    """Replace the current line of stderr (a terminal) by `line`."""
    with suppress(OSError):
        sys.stderr.flush()
        sys.stderr.buffer.write(b"\r" + visible(line).encode("utf-8", "replace"))
        sys.stderr.buffer.flush()


def flush_output() -> None:
    """Flush stdout, if there is one.

    Raises:
        BrokenPipeError: the reader has closed the pipe.
        OSError: the disk is full, or another failure.
    """
    with suppress(AttributeError, ValueError):  # started without one, or closed
        sys.stdout.flush()


def abandon_output() -> None:
    """Point stdout and stderr to /dev/null where they cannot be flushed, as Python's note on SIGPIPE advises. Otherwise the
    interpreter's own flush at exit fails and makes the exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _redirect_to_null(stream.fileno())
        except (AttributeError, ValueError):
            continue


def unwritable(error: OSError) -> ErrorInfo | None:
    """The error to report if a write failed for lack of space, else None."""
    if error.errno not in _FULL:
        return None
    return ErrorInfo(
        kind="no_space",
        message=f"{error.filename or 'The output'} could not be written: {error.strerror}.",
        cure="Free some space, or write elsewhere.",
    )


def _redirect_to_null(descriptor: int) -> None:
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
