"""The end of stdout: a reader that goes away (`| head`) is no error, a disk that is full is one."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

from ttchat_tui.domain.events import ErrorInfo

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


def ensure_streams() -> None:
    """Where this program was started without stdin, stdout or stderr (`>&-`), what is written there ends nowhere, and
    no file that is opened later takes the descriptor: libraries in C write to 1 and 2 whatever they are."""
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != descriptor:
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
        setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def flush_output() -> None:
    """Write out what stdout still holds; nothing where there is no stdout.

    Raises:
        BrokenPipeError: the reader has gone.
        OSError: the disk is full, or worse.
    """
    with suppress(AttributeError, ValueError):  # started without one, or closed
        sys.stdout.flush()


def abandon_output() -> None:
    """What stdout and stderr cannot write ends nowhere, as Python's note on SIGPIPE advises: the interpreter flushes
    both at its end, and would complain and exit with 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _lead_nowhere(stream.fileno())
        except (AttributeError, ValueError):
            continue


def unwritable(error: OSError) -> ErrorInfo | None:
    """What to say when a write failed because there is no space; None for any other reason."""
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
