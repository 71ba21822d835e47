"""The words in which a reply differs from another, as they are drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final, NamedTuple, TypeAlias

from ttchat_tui.ui.markdown.document import RenderChunk
from ttchat_tui.ui.markdown.visual import Hit

Marks: TypeAlias = Mapping[int, Sequence[tuple[Hit, str]]]
"""Chunk → parts of its rows, each with a style."""

MOST_WORDS: Final = 3_000
"""Of each reply: the comparison takes the square of them, about a second for these."""
DIFFERENT: Final = ".lane--different"
_WORD: Final = re.compile(r"\w+|[^\w\s]")


class Word(NamedTuple):
    text: str
    chunk: int
    hit: Hit


def words_of(chunks: Sequence[RenderChunk]) -> list[Word]:
    """The words and punctuation marks of an answer; thoughts are left out."""
    return [
        Word(match[0], number, Hit(y, *match.span()))
        for number, chunk in enumerate(chunks)
        if not chunk.is_thought
        for y, row in enumerate(chunk.rows)
        for match in _WORD.finditer(row.plain)
    ][:MOST_WORDS]


def differences(first: Sequence[Word], other: Sequence[Word]) -> Marks:
    """Marks of the words of `other` that are not in `first`, in its order."""
    matcher = SequenceMatcher(
        None, [word.text for word in first], [word.text for word in other], autojunk=False
    )
    marks: dict[int, list[tuple[Hit, str]]] = {}
    for kind, _, _, begin, end in matcher.get_opcodes():
        for word in other[begin:end] if kind != "equal" else ():
            marks.setdefault(word.chunk, []).append((word.hit, DIFFERENT))
    return marks
