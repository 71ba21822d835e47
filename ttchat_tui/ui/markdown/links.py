"""Links that a terminal can open (OSC 8); a link that wraps over rows stays one link."""

from __future__ import annotations

import os
import re
import unicodedata
import zlib
from collections.abc import Mapping
from typing import Final

from markdown_it.common.normalize_url import normalizeLink
from rich.style import Style as RichStyle
from textual.content import Content, Span
from textual.style import Style

_SAFE: Final = re.compile(r"(?:https?|ftp|mailto):[!-~]+", re.IGNORECASE)
_BARE: Final = re.compile(
    r"https?://[!#-;=?-_a-~\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0370-\u061a\u0620-\u0dff\u10a0-\u10ff"
    r"\u1200-\u135f\u1369-\u167f\u1e00-\u1fff]+",
    re.IGNORECASE,
)
"""A bare address: printable ASCII without quotes, angle brackets and backticks, and the scripts that separate words by
spaces. Not Thai, Lao, Tibetan, Burmese, Khmer, Chinese or Japanese: there a sentence continues right after an address."""


def link_style(address: str) -> Style | None:
    """The style that links text to `address`; None if a terminal cannot or should not open it."""
    return Style(link=address) if _SAFE.fullmatch(address) and terminal_knows_links() else None


def linked(content: Content) -> Content:
    """`content` with its bare addresses as links."""
    if "://" not in content.plain or not terminal_knows_links():
        return content
    taken = [span for span in content.spans if isinstance(span.style, Style)]
    found: list[Span] = []
    for match in _BARE.finditer(content.plain):
        start, address = match.start(), _trimmed(match[0])
        end = start + len(address)
        style = link_style(address if address.isascii() else normalizeLink(address))
        if style is not None and not any(span.start < end and start < span.end for span in taken):
            found.append(Span(start, end, style))
    return content.add_spans(found) if found else content


def with_one_id(style: RichStyle) -> RichStyle:
    """`style` with an id derived from its link, so that terminals treat the rows of a wrapped link as one. Sets Rich's
    private `Style._link_id`: Rich draws a random id per piece of text, and has no public way to set it."""
    if style.link is None:
        return style
    twin = style.copy()
    twin._link_id = f"{zlib.crc32(style.link.encode()):x}"
    return twin


def terminal_knows_links(environment: Mapping[str, str] | None = None) -> bool:
    """Whether OSC 8 is safe: only the oldest kinds of terminals would print it."""
    kind = (os.environ if environment is None else environment).get("TERM", "")
    return kind not in ("linux", "dumb") and not kind.startswith("vt")


def _trimmed(address: str) -> str:
    """Without the sentence's punctuation after it, as in GFM's autolinks."""
    while address:
        last = address[-1]
        is_mark = last in "?!.,:*_~';" or (not last.isascii() and unicodedata.category(last).startswith("P"))
        if is_mark or (last in ")]}" and address.count(last) > address.count("([{"[")]}".index(last)])):
            address = address[:-1]
        else:
            break
    return address
