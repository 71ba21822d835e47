"""What a person is told about an exception, whoever raised it."""

from __future__ import annotations

import logging

from ttchat_tui.domain.events import ErrorInfo

log = logging.getLogger(__name__)


def told(error: Exception) -> ErrorInfo:
    """The exception's own `info` if it has one; else kind `internal`, and the traceback goes to the log."""
    info = getattr(error, "info", None)
    if isinstance(info, ErrorInfo):
        return info
    log.error("unforeseen", exc_info=error)
    first_line = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
    return ErrorInfo(kind="internal", message=f"The engine failed: {what}", cure="The log has the details.")
