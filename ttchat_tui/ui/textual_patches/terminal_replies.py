"""Recognition of a terminal's answers to queries, as opposed to typed keys.

Answers may come late (over ssh, or to a program that ran before), and Textual (8.2.8) types unexpected ones into the prompt.
Their grammar is ECMA-48's: control sequences, and strings that end with the String Terminator or BEL.
"""

from __future__ import annotations

import re
from typing import Final

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import _re_mouse_event, _re_terminal_mode_response

LONGEST: Final = 1024
"""Characters of an answer that are read; the rest is dropped."""
BEL: Final = "\x07"
STRINGS: Final = "]P_"
"""The characters after ESC that begin a string: OSC (colours), DCS (the terminal's version), APC (kitty graphics)."""

_TEXT: Final = r"[^\x00-\x1f\x7f\ud800-\udfff]*"
_STRING: Final = rf"\x1b(?:\]\d{_TEXT}|P[\d>!$+]{_TEXT}|_G{_TEXT})"
_OPEN: Final = re.compile(
    rf"\x1b\[(?:[0-?]+[ -/]*)?|\x1b\[M[^\x00-\x1f\ud800-\udfff]{{0,2}}|\x1b[]P_]|{_STRING}"
)
_WHOLE: Final = re.compile(rf"\x1b\[[0-?]+[ -/]*[@-~]|{_STRING}{BEL}")
_BEGINNINGS: Final = frozenset(
    key[:end] for key in ANSI_SEQUENCES_KEYS if key.startswith("\x1b") for end in range(2, len(key))
)


def is_open(sequence: str) -> bool:
    """Whether `sequence`, which begins with ESC, may be the beginning of a key or an answer."""
    return sequence in _BEGINNINGS or _OPEN.fullmatch(sequence) is not None


def ends(sequence: str, character: str) -> bool:
    """Whether `character` ends the answer that `sequence` begins. The end of a string is given as BEL."""
    return character == BEL if sequence[1] in STRINGS else "@" <= character <= "~"


def is_for_textual(sequence: str) -> bool:
    """Whether it is a mouse report or a mode report, not a key."""
    return bool(_re_mouse_event.match(sequence) or _re_terminal_mode_response.match(sequence))


def is_whole(sequence: str) -> bool:
    """Whether it is a complete answer. The end of a string is given as BEL."""
    return _WHOLE.fullmatch(sequence) is not None
