"""Untrusted text, from a model, a file or a server, made safe for the terminal: see `visible`."""

from __future__ import annotations

import io
import re
from typing import Final

_CONTROLS: Final = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
"""Characters that a terminal acts on, as a part of a regular expression's character class."""

_MARKS: Final = "\u061c\u200e\u200f"
"""Directional marks, which affect only their neighbours."""

_INVISIBLE: Final = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters that a terminal does not show, with which a text can hide words from its reader: zero-width spaces, joiners,
fillers, invisible operators, variation selectors, and tags (an invisible copy of ASCII). In Unicode's terms: default
ignorable."""

_UNSAFE: Final = re.compile(f"[{_CONTROLS}]")

_PICTOGRAPHS: Final = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_IDEOGRAPHS: Final = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Symbols, mathematical letters, ideographs and their punctuation, Burmese, Phags-pa, Manichaean, hieroglyphs.
_HAS_VARIANTS: Final = (
    f"#*0-9\u00a9\u00ae\u2010-\u2027\u2030-\u205e\u2100-\u218f{_PICTOGRAPHS}\u3000-\u3163\u3165-\u33ff{_IDEOGRAPHS}"
    "\uff00-\uff60\u1000-\u109f\ua840-\ua87f\ua9e0-\uaa7f\U00010ac0-\U00010aff\U00013000-\U000143ff\U0001d400-\U0001d7ff"
)
# Hebrew to Tibetan with Arabic and the scripts of India, scripts of South-East Asia, Mongolian, Adlam, historic scripts.
_HAS_JOINERS: Final = (
    "\u0590-\u061b\u061d-\u0fff\u1000-\u109f\u1700-\u17b3\u17b6-\u180a\u1810-\u1cff\ua800-\uabff\ufb1d-\ufdff"
    "\ufe70-\ufefc\U00010a00-\U00011fff\U0001e900-\U0001e95f"
)

_LEGITIMATE: Final = (
    # Flags of England, Scotland and Wales: a black flag, the region in tags, and a tag that ends it.
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f?"
    # A zero-width space between words of Thai, Lao, Burmese and Khmer, which have no visible spaces.
    "|(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17ff])\u200b"
    # One joiner after a letter of a script that uses them, or between two pictographs.
    f"|(?<=[{_HAS_JOINERS}])[\u200c\u200d]|(?:(?<=[{_PICTOGRAPHS}])|(?<=[{_PICTOGRAPHS}]\ufe0f))\u200d"
    # One variation selector after a character with variants.
    f"|(?<=[{_HAS_VARIANTS}])[\ufe00-\ufe0f]|(?<=[{_IDEOGRAPHS}])[\U000e0100-\U000e01ef]|(?<=[\u1820-\u18aa])[\u180b-\u180f]"
    # The Korean vowel filler, and the joiner that separates Hebrew points.
    "|(?<=[\u1100-\u115e\ua960-\ua97c])\u1160|(?<=[\u0300-\u034e\u0350-\u036f\u0590-\u05ff])\u034f"
    f"|(?<![{_MARKS}{_INVISIBLE}])[{_MARKS}]"
)
"""Legitimate use of an invisible character: once, directly after the character that it changes."""

_LOOKBEHIND: Final = 8
"""How many characters before an invisible one decide whether it is legitimate."""

_HIDDEN: Final = re.compile(f"(?P<legitimate>{_LEGITIMATE})|[{_CONTROLS}{_MARKS}{_INVISIBLE}]")
_LINE_BREAK: Final = re.compile(r"(?<![ \t\r])[ \t\r]*\n[ \t\r\n]*")
_SUSPECT: Final = re.compile(f"[{_CONTROLS}{_MARKS}{_INVISIBLE}]")
_RIGHT_TO_LEFT: Final = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)

_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")

_REPLACEMENT: Final = "\ufffd"
"""For characters without a symbol of their own: C1 controls, lone surrogates, tags."""

_SURROGATES: Final = re.compile("[\ud800-\udfff]")

_PICTURES: Final[dict[str, str]] = {
    **{chr(code): chr(0x2400 + code) for code in range(0x20)},
    "\x7f": "\u2421",
    # Bidi embeddings, overrides and isolates reorder the text after them ("Trojan Source", CVE-2021-42574). The arrows
    # show their direction and are one column wide, also in CJK terminals. The marks U+200E, U+200F and U+061C stay: they
    # affect only their neighbours, and legitimate text needs them.
    **dict.fromkeys("\u202a\u202d\u2066", "\u21a6"),
    **dict.fromkeys("\u202b\u202e\u2067", "\u21a4"),
    **dict.fromkeys("\u2068", "\u21c4"),
    **dict.fromkeys("\u202c\u2069", "\u21a5"),
    **dict.fromkeys("\u115f\u1160\u180e\u200b\u200c\u200d\u2060\u3164\ufeff\uffa0", "\u2423"),
}


_PIECE_SYMBOLS: Final = {
    **{chr(code): chr(0x2400 + code) for code in range(0x20)},
    " ": "\u2423",
    "\n": "\u23ce",
    "\t": "\u21e5",
    "\x7f": "\u2421",
}

_NEEDS_NO_SYMBOL: Final = re.compile(
    f"[^{_CONTROLS}{_MARKS}{_INVISIBLE}\\s\u00ad\u2800\u2400-\u2426\u23ce\u21e5\u27e8\u27e9"
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f\ufff9-\uffff]"
)
"""Characters that a reader sees and that mean nothing else in `visible_piece`. Not those that only change the one before."""


def visible(text: str) -> str:
    r"""`text` with every control and every invisible character shown as a symbol; newline and tab stay.

    Replaces C0 (ESC, CR, BEL …) by the symbols from U+2400, DEL by ␡, C1 and lone surrogates by U+FFFD, bidi embeddings,
    overrides and isolates by arrows, zero-width spaces and joiners by ␣, and tags, variation selectors and other invisible
    characters by U+FFFD, except where legitimate text needs them. One character becomes one character, so offsets stay
    valid. Idempotent.
    """
    if _SUSPECT.search(text) is None:
        return text
    shown = _HIDDEN.sub(_picture, text)
    return text if shown == text else shown


def visible_line(text: str) -> str:
    """`visible` text on one line: each line break and the space around it becomes one space, so that the text cannot begin
    a new line of output."""
    return visible(_LINE_BREAK.sub(" ", text.strip("\r\n")))


def one_line(text: str) -> str:
    """`visible` text for one row: every run of white space, line breaks and tabs included, is one space."""
    return visible(" ".join(text.split()))


def without_hidden(text: str) -> tuple[str, int]:
    """`text` without the characters that `visible` would show as symbols, and their number.

    Also removes soft hyphens, and directional marks if no character is written from right to left. Idempotent.
    """
    is_marked = _RIGHT_TO_LEFT.search(text) is not None

    def kept(match: re.Match[str]) -> str:
        return (
            match.group() if match["legitimate"] and (is_marked or match["legitimate"] not in _MARKS) else ""
        )

    # First, because one may separate a letter from its joiner.
    hyphenless = text.replace("\u00ad", "")
    clean = _HIDDEN.sub(kept, hyphenless) if _SUSPECT.search(hyphenless) else hyphenless
    return clean, len(text) - len(clean)


def decoded(text: str) -> str:
    """`text` from the command line or the environment with lone surrogates replaced by U+FFFD.

    Python keeps each byte that is not UTF-8 as a lone surrogate, which no file, server or database accepts.
    """
    return _SURROGATES.sub(_REPLACEMENT, text)


def visible_piece(piece: bytes) -> str:
    """The bytes of one token, unmistakably and on one line: space is ␣, newline ⏎, tab ⇥, ESC ␛, and a byte that is not
    UTF-8 by itself or a character that cannot be seen is in brackets, ⟨E2 80⟩. So are the symbols used here."""
    shown: list[str] = []
    hidden = b""
    for char in piece.decode("utf-8", "surrogateescape"):
        if char in _PIECE_SYMBOLS or _NEEDS_NO_SYMBOL.match(char):
            shown += (_bracketed(hidden), _PIECE_SYMBOLS.get(char, char))
            hidden = b""
        else:
            hidden += char.encode("utf-8", "surrogateescape")
    return "".join((*shown, _bracketed(hidden)))


def _bracketed(hidden: bytes) -> str:
    return f"\u27e8{hidden.hex(' ').upper()}\u27e9" if hidden else ""


class VisibleStream:
    """`visible` for a text in chunks: the results together equal `visible` of the whole text."""

    def __init__(self) -> None:
        self._before = ""

    def feed(self, chunk: str) -> str:
        """Make the next chunk visible."""
        text = self._before + chunk
        shown = visible(text)[len(self._before) :]
        self._before = text[-_LOOKBEHIND:]
        return shown


class VisibleReply:
    """A `VisibleStream` that turns line ends of any kind (CR LF, CR) into newlines."""

    def __init__(self) -> None:
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)
        self._shown = VisibleStream()

    def feed(self, chunk: str) -> str:
        """Make the next chunk visible. Holds back a CR at its end, because the next chunk may begin with LF."""
        return self._shown.feed(self._newlines.decode(chunk))

    def end(self) -> str:
        """The text that is held back."""
        return self._shown.feed(self._newlines.decode("", final=True))


def counted(number: int, noun: str) -> str:
    """`1 message`, `1,234 messages`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


_ENDED: Final = re.compile(r"[.!?…。！？][)\]}\"'”’»]*\Z")
_TWO_STOPS: Final = re.compile(r"(?<!\.)\.\.\Z")


def as_sentence(text: str) -> str:
    """`text` with the end of a sentence, which foreign text at its end, such as a server's words, may lack or have twice."""
    ended = _TWO_STOPS.sub(".", text.rstrip(" ,:;"))
    return ended if not ended or _ENDED.search(ended) else f"{ended}."


def json_escaped(document: str) -> str:
    r"""A JSON document with all control characters as \uXXXX: the same value, and safe for the terminal.

    JSON itself requires this for C0 only. DEL, C1, bidi controls and lone surrogates occur only inside its strings.
    """
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", document)


def _picture(match: re.Match[str]) -> str:
    return match.group() if match["legitimate"] else _PICTURES.get(match.group(), _REPLACEMENT)


def why_no_text(data: bytes) -> tuple[str, str] | None:
    """Why these bytes are no text in UTF-8, as a clause about `it`, and the cure; None if they are. A mark of the byte order
    is no fault."""
    if data.startswith(_UTF_16):
        return "it is UTF-16, and only UTF-8 is read", "Convert it: iconv -f UTF-16 -t UTF-8."
    if b"\0" in data:
        return "it is not text (it has null bytes)", ""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        where = f"it is not UTF-8 (byte {error.start + 1:,} is 0x{data[error.start]:02X})"
        return where, "If it is a text, convert it: iconv -f LATIN1 -t UTF-8."
    return None
