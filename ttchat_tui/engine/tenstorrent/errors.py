"""Native errors in plain words: a sentence and a cure on screen, the backtrace in the log."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Final

from ttchat_tui.domain.errors import LOAD_AGAIN
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.cures.cure import RESET, Cure
from ttchat_tui.engine.tenstorrent.cures.table import CURES

log = logging.getLogger(__name__)

_MAX_QUOTE: Final = 240
_LAST_LINES: Final = 40
"""How far back in the output the reason of its end may be; older errors are those that the process survived."""
_NO_ERROR: Final = re.compile(r"\| +(trace|debug|info|warning) +\|", re.IGNORECASE)
"""Lines of tt-logger below `error`."""


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
    """The first entry that matches the text before its backtrace, with the names in that text filled in."""
    body = _without_backtrace(text)
    return next((found for entry in CURES if (found := entry.about(body))), None)


def native_line(text: str) -> str:
    """The readable part of a TT_FATAL or TT_THROW: its `info:` block. Any other text as a whole, without its backtrace."""
    body = _without_backtrace(text)
    _, found, info = body.partition("\ninfo:\n")
    return " ".join((info if found else body).split())[:400]


def advice_after(output: str) -> str:
    """What to do after the engine's process died: what the last known error in its output means and needs.

    Native code ends the process for some errors (`std::abort`, an exception in a destructor) after it has printed them.
    """
    lines = [line for line in output.splitlines() if not _NO_ERROR.search(line)]
    found = next((entry for line in reversed(lines[-_LAST_LINES:]) if (entry := cure_for(line))), None)
    if found is not None:
        return f"{found.meaning} {found.cure}"
    return f"{LOAD_AGAIN} If that fails, the card needs a reset. {RESET}"


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
