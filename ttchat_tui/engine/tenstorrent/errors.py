"""Native errors in plain words: a sentence and a cure on screen, the backtrace in the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.cures import CURES, Cure

log = logging.getLogger(__name__)

_MAX_QUOTE: Final = 240


def explain(error: BaseException) -> EngineError:
    """`error` as a sentence and a cure. The whole native text, with its backtrace, goes to the log.

    The causes of `error` (`raise … from`) are searched too: transformers hides the hub's own message there.
    """
    if isinstance(error, EngineError):
        return error
    # Log the text only: a record that holds the exception holds its frames, and with them tensors on the card.
    log.error("native error: %s: %s", type(error).__name__, str(error))
    found = next((entry for each in _chain(error) if (entry := cure_for(_named(each)))), None)
    if found is not None:
        return EngineError(f"{found.meaning}{_quoted(str(error))}", found.cure, found.kind)
    return EngineError(
        f"The Tenstorrent engine failed: {native_line(str(error)) or type(error).__name__}",
        "The log has the details (`ttchat-tui paths`).",
        "native",
    )


def cure_for(text: str) -> Cure | None:
    """The first entry that matches the text before its backtrace."""
    body = _without_backtrace(text)
    return next((entry for entry in CURES if re.search(entry.part, body, re.DOTALL)), None)


def native_line(text: str) -> str:
    """The readable part of a TT_FATAL or TT_THROW: its `info:` block. Any other text as a whole, without its backtrace."""
    body = _without_backtrace(text)
    _, found, info = body.partition("\ninfo:\n")
    return " ".join((info if found else body).split())[:400]


@contextmanager
def explain_errors() -> Generator[None, None, None]:
    """Raise exceptions of native code inside the block as `EngineError`."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise explain(error) from error


def _without_backtrace(text: str) -> str:
    return text.split("\nbacktrace:", 1)[0]


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _quoted(text: str) -> str:
    """The `info:` block, which has the figures; empty for Python's own errors, which add nothing."""
    if "\ninfo:\n" not in text:
        return ""
    line = native_line(text)
    return f" ({line if len(line) <= _MAX_QUOTE else line[: _MAX_QUOTE - 1] + '…'})"


def _chain(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__
