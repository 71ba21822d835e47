"""The part of a row's source that belongs to selected text, for copying."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Final

_LONGEST: Final = 4000
"""The longest source that is compared with its text, since that takes quadratic time."""


def part_of(source: str, text: str, start: int, end: int) -> str:
    """The part of `source` shown as `text[start:end]`. At the row's start and end it includes the markers."""
    if start <= 0 and end >= len(text):
        return source
    if source == text or len(source) > _LONGEST:
        return text[start:end]
    blocks = SequenceMatcher(None, text, source, autojunk=False).get_matching_blocks()
    places = {block.a + step: block.b + step for block in blocks for step in range(block.size)}
    shown = [places[at] for at in range(max(0, start), min(end, len(text))) if at in places]
    if not shown:
        return ""
    return source[0 if start <= 0 else shown[0] : len(source) if end >= len(text) else shown[-1] + 1]
