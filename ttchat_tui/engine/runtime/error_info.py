"""What a person is told about an exception, whoever raised it."""

from __future__ import annotations

import logging
from typing import Final

from ttchat_tui.domain.events import ErrorInfo

log = logging.getLogger(__name__)

NO_MEMORY: Final = ErrorInfo(
    kind="out_of_memory",
    message="There is not enough memory for the engine.",
    cure="Close other programs, raise the limit (`ulimit -v`), or take a smaller model.",
)

_SIGNS: Final = ("Cannot allocate memory", "failed to map segment from shared object", "MemoryError")
"""What the system says, and the loader of libraries, which Python makes an ImportError of, and Python."""


def told(error: Exception) -> ErrorInfo:
    """The exception's own `info` if it has one; else kind `internal`, and the traceback goes to the log."""
    info = getattr(error, "info", None)
    if isinstance(info, ErrorInfo):
        return info
    log.error("unforeseen", exc_info=error)
    if isinstance(error, MemoryError) or is_out_of_memory(str(error)):
        return NO_MEMORY
    first_line = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    return ErrorInfo(kind="internal", message=f"The engine failed: {what}", cure="The log has the details.")


def is_out_of_memory(words: str) -> bool:
    """What a program said last tells that memory ran out."""
    return any(sign in words for sign in _SIGNS)
