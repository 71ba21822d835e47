"""Finding words in text as a reader means them: case, accents, width and typographic punctuation do not matter."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

_ALONE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2190-\u2bff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\uff66-\uff9f\U0001f000-\U0003ffff"
)
"""Characters that are words of their own: scripts without spaces (Thai, Burmese, Khmer, Chinese, Japanese, Korean), arrows,
mathematical symbols and emoji."""

LONGEST_WORD: Final = 64
"""Characters. Longer runs (Base64) are cut into pieces of this length."""

_NEAR: Final = 2_000
"""Characters in which most messages have their first hit."""

_WORD: Final = re.compile(f"[{_ALONE}]|[^\\W_{_ALONE}]{{1,{LONGEST_WORD}}}")
_IS_ALONE: Final = re.compile(f"[{_ALONE}]")
_MARKERS: Final = re.compile(r"\*+|`+|~~+|__+")

_PLAIN: Final = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
}


class _Folding(dict[int, str]):
    """`str.translate`'s table, filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if code < 0x80:
            plain = character.lower()
        elif 0xAC00 <= code <= 0xD7FF:  # Hangul syllables would fall apart into letters
            plain = character
        else:
            parts = unicodedata.normalize("NFKD", _PLAIN.get(character, character.casefold()))
            kept = "".join(part for part in parts if not "\u0300" <= part <= "\u036f")
            plain = unicodedata.normalize("NFKC", kept).casefold()
        self[code] = plain
        return plain


_FOLDING: Final = _Folding()


def folded(text: str) -> str:
    """`text` without differences of case, accents, width and typographic punctuation. Its length may differ."""
    return text.lower() if text.isascii() else text.translate(_FOLDING)


def words(text: str) -> list[str]:
    """The words of folded text, in order. Characters of scripts without spaces are words of their own."""
    return _WORD.findall(text)


def is_alone(character: str) -> bool:
    """Whether a character is a word of its own."""
    return _IS_ALONE.match(character) is not None


def without_markers(source: str) -> str:
    """Markdown without its markers of emphasis and code: words that are read together stand together."""
    return _MARKERS.sub("", source)


class Matcher:
    """Finds needles in text, also inside words. Blanks in a needle match any blanks."""

    def __init__(self, needles: Sequence[str]) -> None:
        found = {needle: None for each in needles if (needle := " ".join(folded(each).split()))}
        self.needles: tuple[str, ...] = tuple(found)
        """Folded, without repetitions and empty ones."""
        self._patterns = [re.compile(_pattern(needle)) for needle in self.needles]
        longest_first = sorted(self.needles, key=len, reverse=True)
        self._any = re.compile("|".join(map(_pattern, longest_first))) if longest_first else None

    def __bool__(self) -> bool:
        return bool(self.needles)

    def is_in(self, source: str) -> bool:
        """Whether a message's source has any needle, as it is or without Markdown's markers of emphasis and code."""
        if self._any is None:
            return False
        plain = folded(source)
        return self._any.search(plain) is not None or self._any.search(without_markers(plain)) is not None

    def counts(self, text: str) -> list[int]:
        """How often `text` has each needle."""
        plain = folded(text)
        return [
            plain.count(needle) if " " not in needle else sum(1 for _ in pattern.finditer(plain))
            for needle, pattern in zip(self.needles, self._patterns, strict=True)
        ]

    def has_all(self, text: str) -> bool:
        plain = folded(text)
        return all(
            needle in plain if " " not in needle else pattern.search(plain) is not None
            for needle, pattern in zip(self.needles, self._patterns, strict=True)
        )

    def first(self, text: str) -> int | None:
        """Where the first hit begins; None: there is none."""
        spans = self.spans(text[:_NEAR]) or self.spans(text)
        return spans[0][0] if spans else None

    def spans(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of each hit in `text`, in order, without overlaps."""
        if self._any is None:
            return []
        plain = folded(text)
        found = [match.span() for match in self._any.finditer(plain)]
        if not found or text.isascii():
            return found
        # Where each folded character comes from: one may have become several, or none.
        lengths = (1 if character < "\x80" else len(_FOLDING[ord(character)]) for character in text)
        origins = list(itertools.chain.from_iterable([at] * length for at, length in enumerate(lengths)))
        return [(origins[start], origins[end - 1] + 1) for start, end in found]


def _pattern(needle: str) -> str:
    return r"\s+".join(map(re.escape, needle.split(" ")))
