"""Text that tries to control a terminal, and a judge of what a terminal would obey: by the standards it follows, not
by the code under test."""

from __future__ import annotations

import random
import re
from typing import Final

SEQUENCES: Final = (
    "\x1b[2J", "\x1b[31m", "\x1b[6n", "\x1b[?1049h", "\x1b[20t", "\x1b[3J\x1b[H", "\x1b[8m", "\x1bc", "\x1b#8", "\x1bZ",
    "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x1b]52;c;aGk=\x1b\\", "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]1337;File=inline=1:aGk=\x07", "\x1bP$q q\x1b\\", "\x1b_Ga=T,f=24;aGk=\x1b\\", "\x1b^pm\x1b\\", "\x1bXsos\x1b\\",
    "\x9b2J", "\x9d52;c;aGk=\x9c", "\x90q\x9c", "\x9ea\x9c", "\x84", "\x8d", "\x85", "\x98x\x9c",
    "\r", "fake\rover", "\b\b\b", "\x07", "\x0b", "\x0c", "\x0e", "\x0f", "\x05", "\x18", "\x1a", "\x7f", "\x1c\x1d\x1e\x1f",
    "\u202e", "\u202d", "\u2066", "\u2067", "\u2068", "\u202a\u202b", "\u202c\u2069",
    "\u200b", "\u200d", "\u2060", "\ufeff", "\u3164", "\u180e", "\u2028", "\u2029",
    "\U000e0001\U000e0061\U000e0062\U000e007f", "\U000e0100",
    "\n", "\n\n", "\t", "\r\n", "\nttchat-tui: all is well.\n",
)  # fmt: skip
"""ESC, CSI, OSC, DCS, APC, PM, SOS with 7 and 8 bits; other controls; directions; invisible text; line ends."""
_HONEST: Final = (
    "a",
    "word ",
    "[/bold]",
    "{x}",
    "%s",
    "'",
    '"',
    "\\",
    "$HOME",
    "日本",
    "é",
    "🙂",
    "-",
    "=",
    ":",
    "~",
)
_BYTES: Final = ("\udc9b", "\udc9d", "\udc80", "\udcff", "\udcc2", "\udce2\udc80")
"""Bytes that are no UTF-8, as Python hands them over from the command line, the environment and file names."""
_HALVES: Final = ("\ud83d", "\ude00", "\udfff")
"""Halves of a surrogate pair; JSON can hold them alone."""


def hostile(seed: int, *, has_bytes: bool = False, has_halves: bool = False, longest: int = 6) -> str:
    """The hostile text number `seed`: the same at every call."""
    chance = random.Random(seed)
    parts = [*SEQUENCES, *(_BYTES if has_bytes else ()), *(_HALVES if has_halves else ())]
    pieces = [
        chance.choice(_HONEST if chance.random() < 0.4 else parts) for _ in range(chance.randint(1, longest))
    ]
    pieces.insert(chance.randint(0, len(pieces)), SEQUENCES[seed % len(SEQUENCES)])
    if chance.random() < 0.3:
        pieces.append(
            "".join(
                chr(chance.choice((chance.randrange(1, 0x100), chance.randrange(0x2000, 0x2070))))
                for _ in range(8)
            )
        )
    return "".join(pieces)


_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")
_REDRAWN: Final = re.compile("(?:\r[^\r\n]{78}){1,}\r")
"""The line of progress, which this program draws over itself."""


def obeyed(received: bytes, *, is_redrawn: bool = False) -> list[str]:
    """The parts of `received` that a UTF-8 terminal would act on or could not decode. Newlines and tabs are allowed."""
    try:
        text = received.decode()
    except UnicodeDecodeError as error:
        return [
            f"no UTF-8: {received[error.start : error.end]!r} in {received[max(0, error.start - 40) : error.end + 40]!r}"
        ]
    if is_redrawn:
        text = _REDRAWN.sub("", text)
    return [
        f"{match.group()!r} in {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for match in _OBEYED.finditer(text)
    ]
