"""Errors of the runtime: any exception as an `ErrorInfo`, and the two that more than one module reports."""

from __future__ import annotations

import logging
from typing import Final

from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.engine.base import EngineError

log = logging.getLogger(__name__)

NO_MEMORY: Final = ErrorInfo(
    kind="out_of_memory",
    message="There is not enough memory for the engine.",
    cure="Close other programs, raise the limit (`ulimit -v`), or take a smaller model.",
)

_MEMORY_ERRORS: Final = ("Cannot allocate memory", "failed to map segment from shared object", "MemoryError")
"""From the system, from the loader of libraries (Python raises ImportError for it), and from Python."""


def error_info(error: Exception) -> ErrorInfo:
    """The `info` of an `AppError`; for any other exception kind `internal`, with the traceback in the log."""
    if isinstance(error, AppError):
        return error.info
    log.error("unexpected error", exc_info=error)
    if isinstance(error, MemoryError) or is_out_of_memory(str(error)):
        return NO_MEMORY
    first_line = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    return ErrorInfo(kind="internal", message=f"The engine failed: {what}", cure="The log has the details.")


def unfinished_reply() -> EngineError:
    """The error of an engine that ended a reply without `GenerationFinished`."""
    return EngineError("The engine stopped in the middle of the reply.", kind="internal")


def is_out_of_memory(message: str) -> bool:
    """Whether an error message says that memory ran out."""
    return any(error in message for error in _MEMORY_ERRORS)
