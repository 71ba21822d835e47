"""Text from outside made fit for the prompt: one kind of newline, no escape sequences, no control characters."""

from __future__ import annotations

import re
from typing import Final

PASTED_ESCAPE: Final = "\uf01b"
"""Stands for ESC in a paste (a private-use character), where the terminal's parser must not see one."""

_NEWLINES: Final = re.compile("\r\n?|\u2028|\u2029")

_DROPPED: Final = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI: colours and cursor movements of copied terminal output
    "|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)"  # OSC: titles, links, clipboard
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
    # Bidi embeddings, overrides and isolates: the model would read another order than the user sees.
    "|[\u202a-\u202e\u2066-\u2069]"
    # Lone surrogates: bytes that were not UTF-8; neither the terminal nor the database takes them.
    "|[\ud800-\udfff]"
)


def as_draft(text: str) -> str:
    """`text` as the prompt holds it: `\\n` for every newline, tabs kept, terminal control dropped."""
    return _DROPPED.sub("", _NEWLINES.sub("\n", text.replace(PASTED_ESCAPE, "\x1b")))
