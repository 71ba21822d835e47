"""What ttnn, tt-metal and the hub raise, in words: a part of the native text → what it means → what to do."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import msgspec

from ttchat_tui.engine.base import EngineError

log = logging.getLogger(__name__)


class Cure(msgspec.Struct, frozen=True):
    part: str
    """A regular expression that the native text contains."""
    kind: str
    meaning: str
    cure: str


CURES: Final[tuple[Cure, ...]] = (
    Cure(
        r"No chips detected in the cluster",
        "no_card",
        "No Tenstorrent card was found.",
        "Check that /dev/tenstorrent/* exists (driver loaded, card seated); a container needs --device /dev/tenstorrent.",
    ),
    Cure(
        r"Not enough space to allocate",
        "out_of_memory",
        "The card has not enough memory for this model with this context.",
        'Lower --context-length or [tt] max_batch_size, or use optimizations = "performance".',
    ),
    Cure(
        r"TIMEOUT: device timeout|device timeout in fetch queue wait",
        "device_hung",
        "The card stopped answering.",
        "Quit, run `tt-smi -r` (Galaxy: `tt-smi -glx_reset`), start again.",
    ),
)


def explain(error: BaseException) -> EngineError:
    """`error` for a person. The whole native text, backtrace included, goes to the log."""
    if isinstance(error, EngineError):
        return error
    text = str(error)
    log.error("native error: %s: %s", type(error).__name__, text)
    for entry in CURES:
        if re.search(entry.part, text):
            return EngineError(entry.meaning, entry.cure, entry.kind)
    return EngineError(
        f"The Tenstorrent engine failed: {native_line(text) or type(error).__name__}",
        "The log has the details (`ttchat-tui paths`).",
        "native",
    )


def native_line(text: str) -> str:
    """The human part of a TT_FATAL: its `info:` block, without the backtrace."""
    body = text.split("\nbacktrace:", 1)[0]
    _, found, info = body.partition("\ninfo:\n")
    return " ".join((info if found else body).split())[:400]


@contextmanager
def explained() -> Generator[None, None, None]:
    """Raise whatever native code raises inside as an `EngineError`."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        raise explain(error) from error
