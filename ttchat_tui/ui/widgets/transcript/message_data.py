"""The data of a message in the transcript."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from ttchat_tui.domain.generation import ThoughtFigures

SEPARATOR: Final = " · "
"""Between the figures of a reply."""
SHOWN_AT_ONCE: Final = 16_000
"""Characters of a file, or of another long text of the user's, that are shown at first and with each click: they are laid out
in 15 ms. A whole megabyte takes 400."""


class MessageView(msgspec.Struct, frozen=True):
    """Everything that the transcript shows of a message. Immutable: changes replace it."""

    key: int
    role: Literal["user", "assistant", "system", "notice"]
    text: str
    """A reply's Markdown source; other messages are plain text."""
    literal: str | None = None
    """The language of a reply that is no Markdown (`domain.literal_text.language_of`)."""
    status: Literal["complete", "streaming", "interrupted", "error"] = "complete"
    title: str = ""
    """The author: `You`, or a model's name."""
    time: str = ""
    figures: str = ""
    """The dim line under a reply: parts joined by `SEPARATOR`, the most important first."""
    spare_figures: str = ""
    """Follow them as far as there is room."""
    note: str = ""
    """How a reply ended, if not normally: `stopped`, or an error and its cure."""
    thoughts: tuple[ThoughtFigures, ...] = ()
    """The figures of each thought in a reply, in order; fewer if they are not known."""
    siblings: tuple[int, int] = (0, 1)
    """(0-based index, count) among the versions of this message."""
    branch: str = ""
    """The name of the branch that begins here."""
