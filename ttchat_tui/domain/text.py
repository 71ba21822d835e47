"""Text from a model, a file or a peer made safe to show: `visible` leaves nothing a terminal would obey."""

from __future__ import annotations

import io
import re
from typing import Final

_OBEYED: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""What a terminal acts on. Parts of a character class, as `_UNSEEN`."""

_MARKS: Final = "\u061c\u200e\u200f"
"""Directions of their neighbours only."""

_UNSEEN: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""What it shows as nothing, so that text can carry words past its reader: zero-width spaces, joiners, fillers, invisible
operators, variation selectors, and tags, an invisible copy of ASCII. Unicode calls them default ignorable."""

_UNSAFE: Final = re.compile(f"[{_OBEYED}]")

_PICTOGRAPHS: Final = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPHS: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Symbols, mathematical letters, ideographs and their punctuation, Burmese, Phags-pa, Manichaean, hieroglyphs.
_VARIED: Final = (
    f"#*0-9\u00a9\u00ae\u2010-\u2027\u2030-\u205e\u2100-\u218f{_PICTOGRAPHS}\u3000-\u3163\u3165-\u33ff{_IDEOGRAPHS}"
    "\uff00-\uff60\u1000-\u109f\ua840-\ua87f\ua9e0-\uaa7f\U00010ac0-\U00010aff\U00013000-\U000143ff\U0001d400-\U0001d7ff"
)
# From Hebrew to Tibetan with Arabic and the scripts of India, those of South-East Asia, Mongolian, Adlam, historic ones.
_JOINED: Final = (
    "\u0590-\u061b\u061d-\u0fff\u1000-\u109f\u1700-\u17b3\u17b6-\u180a\u1810-\u1cff\ua800-\uabff\ufb1d-\ufdff"
    "\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)

_HONEST: Final = (
    # Flags of England, Scotland and Wales: a black flag, the region in tags, and a tag that ends it.
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f?"
    # Between words of Thai, Lao, Burmese and Khmer, which are written without spaces.
    "|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff])\u200b"
    # One joiner after a letter of a script that has them, or after a picture to go on with the next one.
    f"|(?<=[{_JOINED}])[\u200c\u200d]|(?:(?<=[{_PICTOGRAPHS}])|(?<=[{_PICTOGRAPHS}]\ufe0f))\u200d"
    # One selector after what has variants.
    f"|(?<=[{_VARIED}])[\ufe00-\ufe0f]|(?<=[{_IDEOGRAPHS}])[\U000e0100-\U000e01ef]|(?<=[\u1820-\u18aa])[\u180b-\u180f]"
    # What takes the place of a vowel in Korean, and keeps Hebrew points apart.
    "|(?<=[\u1100-\u115e\ua960-\ua97c])\u1160|(?<=[\u0300-\u034e\u0350-\u036f\u0590-\u05ff])\u034f"
    f"|(?<![{_MARKS}{_UNSEEN}])[{_MARKS}]"
)
"""Where what is not seen belongs to honest text: once, right after what it changes."""

_LOOKED_BACK: Final = 8
"""Characters before one that decide whether it is honest."""

_SHOWN: Final = re.compile(f"(?P<honest>{_HONEST})|[{_OBEYED}{_MARKS}{_UNSEEN}]")
_LINE_BREAK: Final = re.compile(r"(?<![ \t\r])[ \t\r]*\n[ \t\r\n]*")
_SUSPECT: Final = re.compile(f"[{_OBEYED}{_MARKS}{_UNSEEN}]")
_RIGHT_TO_LEFT: Final = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)

_REPLACEMENT: Final = "\ufffd"
"""For what has no picture of its own: C1 controls, lone surrogates, tags."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")

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
    **dict.fromkeys("\u115f\u1160\u180e\u200b\u200c\u200d\u2060\u3164\ufeff\uffa0", "\u2423"),
}


def visible(text: str) -> str:
    r"""`text` with every control and every invisible character shown as a symbol; newline and tab stay.

    Replaced are C0 (ESC, CR, BEL …) by its picture from U+2400, DEL by ␡, C1 and lone surrogates by U+FFFD, bidi
    embeddings, overrides and isolates by arrows, zero-width spaces and joiners by ␣, tags, variation selectors and other
    invisible ones by U+FFFD, but for those that honest text needs. One character becomes one character: offsets hold.
    Idempotent.
    """
    if _SUSPECT.search(text) is None:
        return text
    shown = _SHOWN.sub(_picture, text)
    return text if shown == text else shown


def visible_line(text: str) -> str:
    """As `visible`, on one line: a line break, with the space around it, becomes one space. Who wrote the text cannot
    begin a line of output with it."""
    return visible(_LINE_BREAK.sub(" ", text.strip("\r\n")))


def without_hidden(text: str) -> tuple[str, int]:
    """`text` without the characters that `visible` would show as symbols, and how many they were. Soft hyphens go too,
    and directional marks where nothing is written from right to left. Twice is as good as once."""
    is_marked = _RIGHT_TO_LEFT.search(text) is not None

    def kept(match: re.Match[str]) -> str:
        return match.group() if match["honest"] and (is_marked or match["honest"] not in _MARKS) else ""

    # Before the others: it may stand between a letter and its joiner.
    hyphenless = text.replace("\u00ad", "")
    clean = _SHOWN.sub(kept, hyphenless) if _SUSPECT.search(hyphenless) else hyphenless
    return clean, len(text) - len(clean)


def decoded(text: str) -> str:
    """`text` from the command line or the environment, where Python keeps a byte that is not UTF-8 as a lone surrogate: no
    file, server or database takes those. It becomes U+FFFD."""
    return _SURROGATES.sub(_REPLACEMENT, text)


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


class VisibleReply:
    """A `VisibleStream` of text for people: line ends of any kind (CR LF, CR) become newlines."""

    def __init__(self) -> None:
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)
        self._shown = VisibleStream()

    def take(self, piece: str) -> str:
        """The next piece; a CR at its end is kept for the next one, which may begin with LF."""
        return self._shown.take(self._newlines.decode(piece))

    def end(self) -> str:
        """What is still kept."""
        return self._shown.take(self._newlines.decode("", final=True))


def json_escaped(document: str) -> str:
    r"""A JSON document with every such character written as \uXXXX: the same value, and nothing a terminal obeys.

    JSON requires that for C0 only; DEL, C1, bidi controls and lone surrogates can only stand inside its strings.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)


def _picture(match: re.Match[str]) -> str:
    return match.group() if match["honest"] else _PICTURES.get(match.group(), _REPLACEMENT)
