"""Errors for the shell: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ttchat_tui.cli import INTERRUPTED
from ttchat_tui.cli.standard_output import abandon_output, flush_output, unwritable
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.attachments import AttachmentError
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.text import visible, visible_line
from ttchat_tui.domain.user_paths import current_folder
from ttchat_tui.models.errors import ModelNameError

DONE: Final = 0
ENGINE_ERROR: Final = 1
USAGE_ERROR: Final = 2

_TOO_MANY_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE})


def show_error(info: ErrorInfo) -> None:
    """Write the message and its cure to stderr."""
    notify(info.line)


def notify(text: str, quoted: str = "") -> None:
    """Write a sentence to stderr, and `quoted` below it with its own lines and spaces."""
    sys.stderr.write(f"ttchat-tui: {visible_line(text)}\n")
    if quoted:
        sys.stderr.write(f"{visible(quoted)}\n")


def exit_code_of(error: ErrorInfo) -> int:
    """What the user has given is at fault, also where only the engine can see that, or something else is."""
    return USAGE_ERROR if error.kind in ("usage", "logit_bias") else ENGINE_ERROR


@contextmanager
def exit_codes() -> Generator[None, None, None]:
    """Turn errors into exit codes. A closed stdout (`| head`) is not an error."""
    try:
        with _write_errors_reported(), _errors_reported():
            try:
                yield
            finally:
                flush_output()  # at the interpreter's exit an error would be a traceback
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # typer turns it into exit code 1
            abandon_output()
            sys.exit(DONE)
        raise


@contextmanager
def _errors_reported() -> Generator[None, None, None]:
    try:
        yield
    except ConfigError as error:
        notify(str(error))
        sys.exit(USAGE_ERROR)
    except (ModelNameError, AttachmentError) as error:
        show_error(error.info)
        sys.exit(USAGE_ERROR)
    except AppError as error:
        show_error(error.info)
        sys.exit(exit_code_of(error.info))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        raise
    except OSError as error:
        show_error(unwritable(error) or _system_error(error))
        _log_traceback(error)
        abandon_output()
        sys.exit(ENGINE_ERROR)
    except Exception as error:  # noqa: BLE001 (reported and logged)
        notify(f"stopped by an internal error ({type(error).__name__}: {error}). {_log_traceback(error)}")
        sys.exit(ENGINE_ERROR)


def _system_error(error: OSError) -> ErrorInfo:
    """A sentence and a cure for an error of the operating system."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    cure = "Correct the path, or choose another."
    if error.errno in _TOO_MANY_FILES:
        what, cure = f"Too many files are open ({what})", "Raise the limit: ulimit -n 1024"
    elif current_folder() == Path():
        what, cure = "The current folder has been deleted", "Change to another one (cd)."
    return ErrorInfo(kind="system", message=f"{what}.", cure=cure)


def _log_traceback(error: Exception) -> str:
    """Append the traceback to the log. Returns a sentence with its place."""
    try:
        file = find_paths(os.environ).log_file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o600)
        with open(descriptor, "a", encoding="utf-8", errors="replace") as log_file:
            log_file.writelines(traceback.format_exception(error))
    except (OSError, ConfigError):
        return "Its traceback could not be written to the log."
    return f"The traceback is in {file}."


@contextmanager
def _write_errors_reported() -> Generator[None, None, None]:
    try:
        yield
    except BrokenPipeError:
        abandon_output()
        sys.exit(DONE)
    except OSError as error:  # of the last flush
        abandon_output()
        show_error(unwritable(error) or _system_error(error))
        sys.exit(ENGINE_ERROR)
