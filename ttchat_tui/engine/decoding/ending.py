"""The end of a reply or of a whole batch: the reason, and the error behind it."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import FinishReason
from ttchat_tui.engine.base import EngineDied, EngineError

_log = logging.getLogger(__name__)


class Ending:
    """`reason` is None while it runs; `error` is set when the reason is `error`."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self.error: ErrorInfo | None = None

    def fail(self, error: ErrorInfo) -> None:
        """End with an error. The first one counts."""
        self.reason, self.error = "error", self.error or error

    def fail_with(self, exception: Exception, what: str) -> None:
        """End with an exception. One that is not an `EngineError` is logged as a failure of `what`.

        Raises:
            EngineDied: the exception is one; the host handles it.
        """
        if isinstance(exception, EngineDied):
            raise exception
        if isinstance(exception, EngineError):
            self.fail(exception.info)
            return
        _log.error("%s failed", what, exc_info=exception)
        self.fail(
            ErrorInfo(
                kind="internal",
                message=f"The engine failed: {type(exception).__name__}: {exception}",
                cure="The text so far is kept, and the log has the details. If this happens again, reload the model.",
            )
        )

    @contextmanager
    def catch_errors(self, what: str) -> Generator[None, None, None]:
        """`fail_with` any exception that is raised inside the block; only `EngineDied` leaves it."""
        try:
            yield
        except Exception as exception:  # noqa: BLE001 - the boundary: an engine may raise anything
            self.fail_with(exception, what)


def ending_of_batch(whole: Ending, rows: Sequence[Ending]) -> tuple[FinishReason, ErrorInfo | None]:
    """An error in any row is the batch's, then a cancel; otherwise the batch ends as row 0 does."""
    for ending in (whole, *rows):
        if ending.error is not None:
            return "error", ending.error
    if any(row.reason == "cancelled" for row in rows):
        return "cancelled", None
    reason = rows[0].reason
    assert reason is not None
    return reason, None
