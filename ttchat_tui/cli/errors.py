"""What reaches the shell when something is wrong: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ttchat_tui.cli import INTERRUPTED
from ttchat_tui.cli.standard_output import abandon_output, flush_output, unwritable
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.text import visible
from ttchat_tui.engine.base import EngineError
from ttchat_tui.models.errors import ModelError, ModelNameError
from ttchat_tui.storage.errors import StorageError

DONE: Final = 0
ENGINE_ERROR: Final = 1
USAGE_ERROR: Final = 2

log = logging.getLogger(__name__)


def say(info: ErrorInfo) -> None:
    """The sentence and its cure, on stderr."""
    tell(f"{info.message} {info.cure}".strip())


def tell(text: str) -> None:
    """A sentence, on stderr."""
    sys.stderr.write(f"ttchat-tui: {visible(text)}\n")


@contextmanager
def exit_codes() -> Generator[None, None, None]:
    """Turn the errors that the rooms raise into exit codes. A reader of stdout that has gone (`| head`) is no error."""
    try:
        with _writing(), _errors_said():
            try:
                yield
            finally:
                flush_output()  # here, and not at the interpreter's end, where an error would be a traceback
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # typer makes exit code 1 of it
            abandon_output()
            sys.exit(DONE)
        raise


@contextmanager
def _errors_said() -> Generator[None, None, None]:
    try:
        yield
    except ConfigError as error:
        tell(str(error))
        sys.exit(USAGE_ERROR)
    except ModelNameError as error:
        say(error.info)
        sys.exit(USAGE_ERROR)
    except (EngineError, ModelError, StorageError) as error:
        say(error.info)
        sys.exit(ENGINE_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def _writing() -> Generator[None, None, None]:
    try:
        yield
    except BrokenPipeError:
        abandon_output()
        sys.exit(DONE)
    except OSError as error:
        info = unwritable(error)
        if info is None:
            raise
        abandon_output()
        say(info)
        sys.exit(ENGINE_ERROR)
