"""The windows of a text under a model: each of its tokens with its probability after those before it.

A text that is longer than the context is followed in windows. Each begins half a window after the one before, and its first
half is context only: a token of a later window has at least half a window before it, and every token is followed once. In
each window the model's own beginning of a text (`<s>`, say) comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class ScoringWindow(NamedTuple):
    """Positions in the text."""

    start: int
    """The first token in the context."""
    first: int
    """The first token that is followed."""
    end: int


def windows(tokens: int, room: int, *, has_beginning: bool) -> Iterator[ScoringWindow]:
    """The windows of a text.

    Args:
        room: tokens of the text that fit into the context; at least 2.
        has_beginning: something precedes the text. Without it nothing precedes its first token, which is not followed.
    """
    start, done = 0, 0 if has_beginning else 1
    while done < tokens:
        end = min(start + room, tokens)
        yield ScoringWindow(start, done, end)
        start, done = start + room // 2, end
