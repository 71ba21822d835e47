"""A message as the transcript shows it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

SEPARATOR: Final = " · "
"""Between the figures of a reply."""


class MessageView(msgspec.Struct, frozen=True):
    """All that the transcript knows of a message. It is replaced, never changed."""

    key: int
    role: Literal["user", "assistant", "system", "notice"]
    text: str
    """Markdown source of a reply; the others are shown as they were typed."""
    status: Literal["complete", "streaming", "interrupted", "error"] = "complete"
    title: str = ""
    """Who speaks: `You`, a model's name."""
    time: str = ""
    figures: str = ""
    """The dim line under a reply: parts with `SEPARATOR` between them, the first ones matter most."""
    note: str = ""
    """How a reply ended, if not well: `stopped`, or an error and its cure."""
    siblings: tuple[int, int] = (0, 1)
    """(0-based index, count) among the versions of this message."""
