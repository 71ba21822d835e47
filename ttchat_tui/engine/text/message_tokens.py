"""The share of each message in a prompt: the tokens of its text, without those that the chat template puts around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.text.token_ledger import EncodedPiece

_AHEAD: Final = 24
"""Pieces in which a message's text is looked for; a template that changes the text hides it from the search."""


class _Span(NamedTuple):
    position: int
    """Of the message."""
    start: int
    end: int
    """In the text of the piece."""


def message_tokens(
    messages: Sequence[ChatMessage], encoded: Sequence[EncodedPiece], length_of: Callable[[str], int]
) -> tuple[int, ...]:
    """Tokens of each message's text in the prompt `encoded`. Their sum is at most that of the prompt; the rest is the
    template's. 0 for a text that is not found: the template has changed it, and its tokens count as the template's.

    A piece with one message's text has that many tokens more than the words around the text. Texts that share a piece (a
    template without control tokens) are encoded alone.

    Args:
        length_of: tokens of a text inside a prompt; called for the words around the texts, which repeat.
    """
    tokens = [0] * len(messages)
    for (piece, ids), spans in zip(encoded, _spans(messages, encoded), strict=True):
        room = len(ids)
        for position, start, end in spans:
            if len(spans) == 1:
                around = length_of(piece.text[:start]) + length_of(piece.text[end:])
                found = room - around
            else:
                found = length_of(piece.text[start:end])
            share = min(max(found, 0), room)
            tokens[position] += share
            room -= share
    return tuple(tokens)


def _spans(messages: Sequence[ChatMessage], encoded: Sequence[EncodedPiece]) -> list[list[_Span]]:
    """Where each message's text is, by piece: its content, and its thoughts if they are there before it. The search goes
    forward only."""
    spans: list[list[_Span]] = [[] for _ in encoded]
    at, after = 0, 0
    for position, message in enumerate(messages):
        content = _search(message.content, encoded, at, after)
        thoughts = _search(message.reasoning_content, encoded, at, after)
        if thoughts and content and (thoughts.piece, thoughts.end) > (content.piece, content.start):
            thoughts = None  # words of a later message
        for place in filter(None, (thoughts, content)):
            at, after = place.piece, place.end
            spans[at].append(_Span(position, place.start, place.end))
    return spans


class _Place(NamedTuple):
    piece: int
    start: int
    end: int


def _search(text: str, encoded: Sequence[EncodedPiece], at: int, after: int) -> _Place | None:
    """The first place of `text` in the pieces from `at` on, there after the letter `after`."""
    if not text.strip():
        return None
    for index in range(at, min(at + _AHEAD, len(encoded))):
        piece = encoded[index][0]
        place = None if piece.is_control else _find(text, piece.text, after if index == at else 0)
        if place is not None:
            return _Place(index, *place)
    return None


def _find(content: str, text: str, after: int) -> tuple[int, int] | None:
    """Start and end of `content` in `text`; templates may trim it."""
    for wanted in (content, content.strip()):
        start = text.find(wanted, after)
        if start >= 0:
            return start, start + len(wanted)
    return None
