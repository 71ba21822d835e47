"""Text from a model, a file or a peer made safe to show: `visible` leaves nothing a terminal would obey."""

from __future__ import annotations

import re
from typing import Final

_OBEYED: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""What a terminal acts on. Parts of a character class, as `_UNSEEN`."""

_UNSEEN: Final = "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""What it shows as nothing, so that text can carry words past its reader: zero-width spaces, invisible operators, and
tags, an invisible copy of ASCII. Joiners and variation selectors stay: Persian, Indic scripts and emoji need them."""

_UNSAFE: Final = re.compile(f"[{_OBEYED}]")

_HONEST: Final = (
    # Flags of England, Scotland and Wales: a black flag, the region in tags, and a tag that ends it.
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f?"
    # Between words of Thai, Lao, Burmese and Khmer, which are written without spaces.
    "|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])\u200b"
)
_LOOKED_BACK: Final = 8
"""Characters before one that decide whether it is honest."""

_SHOWN: Final = re.compile(f"(?P<honest>{_HONEST})|[{_OBEYED}{_UNSEEN}]")

_REPLACEMENT: Final = "\ufffd"
"""For what has no picture of its own: C1 controls, lone surrogates, tags."""

_PICTURES: Final[dict[str, str]] = {
    **{chr(code): chr(0x2400 + code) for code in range(0x20)},
    "\x7f": "\u2421",
    # Bidi embeddings, overrides and isolates reorder what follows them ("Trojan Source", CVE-2021-42574). Arrows
    # with a bar say which way they push; all of them are one column wide, also in CJK terminals. The marks
    # U+200E, U+200F and U+061C stay: they reorder nothing beyond their neighbours, and honest text needs them.
    **dict.fromkeys("\u202a\u202d\u2066", "\u21a6"),
    **dict.fromkeys("\u202b\u202e\u2067", "\u21a4"),
    **dict.fromkeys("\u2068", "\u21c4"),
    **dict.fromkeys("\u202c\u2069", "\u21a5"),
    **dict.fromkeys("\u200b\u2060\ufeff", "\u2423"),
}


def visible(text: str) -> str:
    r"""`text` with every control and every invisible character shown as a symbol; newline and tab stay.

    Replaced are C0 (ESC, CR, BEL …) by its picture from U+2400, DEL by ␡, C1 and lone surrogates by U+FFFD, bidi
    embeddings, overrides and isolates by arrows, zero-width spaces by ␣, tags and other invisible ones by U+FFFD, but
    for those that honest text needs. One character becomes one character: offsets hold. Idempotent.
    """
    if _SHOWN.search(text) is None:
        return text
    return _SHOWN.sub(_picture, text)


class VisibleStream:
    """`visible` for a text that comes in pieces: together they are what it makes of the whole."""

    def __init__(self) -> None:
        self._before = ""

    def take(self, piece: str) -> str:
        """The next piece, made visible."""
        text = self._before + piece
        shown = visible(text)[len(self._before) :]
        self._before = text[-_LOOKED_BACK:]
        return shown


def json_escaped(document: str) -> str:
    r"""A JSON document with every such character written as \uXXXX: the same value, and nothing a terminal obeys.

    JSON requires that for C0 only; DEL, C1, bidi controls and lone surrogates can only stand inside its strings.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)


def _picture(match: re.Match[str]) -> str:
    return match.group() if match["honest"] else _PICTURES.get(match.group(), _REPLACEMENT)
