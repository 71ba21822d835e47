"""Text from a model, a file or a peer made safe to show: `visible` leaves nothing a terminal would obey."""

from __future__ import annotations

import re
from typing import Final

_UNSAFE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_REPLACEMENT: Final = "\ufffd"
"""For what has no picture of its own: C1 controls and lone surrogates."""

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
}


def visible(text: str) -> str:
    r"""`text` with every control character shown as a symbol; newline and tab stay.

    Replaced are C0 (ESC, CR, BEL …) by its picture from U+2400, DEL by ␡, C1 and lone surrogates by U+FFFD, bidi
    embeddings, overrides and isolates by arrows. One character becomes one character, each by itself: offsets
    hold, and `visible(a + b) == visible(a) + visible(b)`, so that a stream may be cut anywhere. Idempotent.
    """
    if _UNSAFE.search(text) is None:
        return text
    return _UNSAFE.sub(_picture, text)


def json_escaped(document: str) -> str:
    r"""A JSON document with every such character written as \uXXXX: the same value, and nothing a terminal obeys.

    JSON requires that for C0 only; DEL, C1, bidi controls and lone surrogates can only stand inside its strings.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)


def _picture(match: re.Match[str]) -> str:
    return _PICTURES.get(match.group(), _REPLACEMENT)
