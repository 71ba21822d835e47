"""Line breaking: between words; anywhere in wide scripts, code, and words longer than a line."""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len, split_graphemes

_WORDS: Final = re.compile(
    # a wide character is a word: Chinese and Japanese have no spaces
    "((?:(?![\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\U00020000-\U0003fffd])\\S)+"
    "|\\S|)(\\s*)"
)


def longest_word(text: str) -> int:
    """The width of the longest word: below it `wrap_offsets` breaks words."""
    return max(cell_len(match[1]) for match in _WORDS.finditer(text))


def wrap_offsets(text: str, width: int, *, by_word: bool = True) -> list[int]:
    """Offsets in `text` (one line) at which lines begin at `width` columns; the first is 0.

    Greedy: the breaks after a returned offset depend only on the text after it. So a long text can be wrapped in pieces,
    each starting with the last line of the one before.
    """
    if len(text) * 2 <= width or cell_len(text) <= width:
        return [0]
    if not by_word:
        return _fold(text, 0, len(text), width, 0, [0])[0]
    offsets = [0]
    used = 0
    for match in _WORDS.finditer(text):
        word, space = match.groups()
        cells = cell_len(word)
        if used + cells > width:
            if cells > width:
                offsets, used = _fold(text, match.start(), match.end(1), width, used, offsets)
                cells = 0
            else:
                offsets.append(match.start())
                used = 0
        used += cells + cell_len(space)
    return offsets


def _fold(
    text: str, start: int, end: int, width: int, used: int, offsets: list[int]
) -> tuple[list[int], int]:
    """Add breaks to `offsets` so that `text[start:end]` fills whole lines; `used` columns of the first are taken."""
    if text.isascii():
        first = start + max(0, width - used)
        breaks = list(range(first, end, width))
        offsets.extend(offset for offset in breaks if offset > offsets[-1])
        return offsets, (end - breaks[-1] if breaks else used + end - start)
    clusters, _ = split_graphemes(text[start:end])
    for at, _, cells in clusters:
        if used + cells > width and start + at > offsets[-1]:
            offsets.append(start + at)
            used = 0
        used += cells
    return offsets, used
