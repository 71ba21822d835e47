"""Emphasis next to Chinese, Japanese and Korean text, after the CommonMark CJK-friendly amendments.

https://github.com/tats-u/markdown-cjk-friendly/blob/main/specification.md, from discussion 650 of
commonmark-spec: `**「強調」**です` is bold, though a letter follows the closing run and punctuation comes before it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from markdown_it.common.utils import isMdAsciiPunct, isPunctChar
from markdown_it.rules_inline.state_inline import Scanned, StateInline

_CJK: Final = re.compile(
    # Wide, fullwidth and halfwidth characters of Unicode 17 that are no emoji by default, and Hangul.
    "[\u1100-\u11ff\u20a9\u2329\u232a\u2630-\u2637\u268a-\u268f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7ff"
    "\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uffdf\uffe0-\uffe6\uffe8-\uffee"
    "\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U0001d300-\U0001d376\U0001f200\U0001f202\U0001f210-\U0001f219"
    "\U0001f21b-\U0001f22e\U0001f230\U0001f231\U0001f237\U0001f23b\U0001f240-\U0001f248\U0001f260-\U0001f265"
    "\U00020000-\U0003fffd]"
)
_FULLWIDTH_QUOTES: Final = "‘’“”"
"""Of ambiguous width; a U+FE01 after them makes them fullwidth."""


class CjkState(StateInline):
    """Overrides which runs of `*`, `_` and `~` may open and close emphasis."""

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        marker, end = self.src[start], start
        while end < self.posMax and self.src[end] == marker:
            end += 1
        after = self.src[end] if end < self.posMax else " "
        last = self.src[start - 1] if start > 0 else " "
        before = last
        if "\ufe00" <= last <= "\ufe0e" and start > 1 and not _is_space(self.src[start - 2]):
            before = self.src[start - 2]  # A variation selector belongs to the character that it follows.
        if _is_space(before) or _is_space(after):
            return Scanned(not _is_space(after), not _is_space(before), end - start)
        can_open, can_close = _is_punctuation(before), _is_punctuation(after)
        if canSplitWord:
            beside_cjk = _CJK.match(after) is not None or _ends_in_cjk(before, last)
            can_open, can_close = (
                can_open or beside_cjk or not can_close,
                can_close or beside_cjk or not can_open,
            )
        return Scanned(can_open, can_close, end - start)


def _ends_in_cjk(before: str, last: str) -> bool:
    if _CJK.match(before) or "\U000e0100" <= last <= "\U000e01ef":  # An ideograph and its selector.
        return True
    return last == "\ufe01" and before in _FULLWIDTH_QUOTES


def _is_space(char: str) -> bool:
    return char.isspace() and (char in "\t\n\f\r " or unicodedata.category(char) == "Zs")


def _is_punctuation(char: str) -> bool:
    return isMdAsciiPunct(ord(char)) or isPunctChar(char)
