"""Cleaning of pasted text: one kind of newline, no escape sequences, no invisible characters."""

from __future__ import annotations

import re
from typing import Final

from ttchat_tui.domain.text import without_hidden

PASTED_ESCAPE: Final = "\uf01b"
"""Replaces ESC in a paste, so that the terminal's parser does not see it. A private-use character."""

_NEWLINES: Final = re.compile("\r\n?|\u2028|\u2029")

_DROPPED: Final = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours and cursor movements of copied terminal output
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # OSC: titles, links, clipboard
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # Lone surrogates: bytes that were not UTF-8; neither the terminal nor the database takes them.
    "|[\ud800-\udfff]"
)


def as_draft(text: str) -> str:
    """`text` for the prompt: `\\n` for every newline, tabs kept, control and invisible characters removed."""
    return clean_paste(text)[0]


def clean_paste(text: str) -> tuple[str, int]:
    """`as_draft`, and the number of invisible characters removed. A model would read them, or text in an order that the user
    does not see."""
    plain = _DROPPED.sub("", _NEWLINES.sub("\n", text.replace(PASTED_ESCAPE, "\x1b")))
    return without_hidden(plain)
