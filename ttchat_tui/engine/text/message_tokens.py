"""Messages in a prompt: the tokens of each one's text, without those that the chat template puts around it, and the pieces that
are replies as a model wrote them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.token_ledger import EncodedPiece, WrittenReply

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


def written_pieces(
    messages: Sequence[ChatMessage],
    pieces: Sequence[PromptPiece],
    as_written: Callable[[tuple[int, ...]], WrittenReply],
) -> dict[int, WrittenReply]:
    """The pieces that end with the whole text of a reply whose ids are known, by their number.

    Args:
        as_written: the text of ids, and those of them that it has: without half a character at the end.
    """
    found: dict[int, WrittenReply] = {}
    for number, spans in enumerate(_spans(messages, [(piece, ()) for piece in pieces])):
        position, start, end = spans[-1] if spans else (0, 0, 0)
        if not spans or not messages[position].token_ids or end != len(pieces[number].text):
            continue
        reply, content = as_written(messages[position].token_ids), pieces[number].text[start:]
        # A model may begin with a space that its tokenizer leaves out of the text.
        is_whole = reply.text.endswith(content) and not reply.text.removesuffix(content).strip()
        if is_whole and reply.ids and pieces[number].text.endswith(reply.text):
            found[number] = reply
    return found


class _Place(NamedTuple):
    piece: int
    start: int
    end: int


def _spans(messages: Sequence[ChatMessage], encoded: Sequence[EncodedPiece]) -> list[list[_Span]]:
    """Where each message's text is, by piece: its content, and its thoughts if they are there before it. The search goes
    forward only."""
    spans: list[list[_Span]] = [[] for _ in encoded]
    at, after = 0, 0
    for position, message in enumerate(messages):
        thoughts = _search(message.reasoning_content, encoded, at, after, is_content=False)
        content = _search(message.content, encoded, thoughts.piece, thoughts.end) if thoughts else None
        if (
            content is None
        ):  # the template has dropped the thoughts: what was found are words of a later message
            thoughts, content = None, _search(message.content, encoded, at, after)
        for place in filter(None, (thoughts, content)):
            at, after = place.piece, place.end
            spans[at].append(_Span(position, place.start, place.end))
    return spans


def _search(
    text: str, encoded: Sequence[EncodedPiece], at: int, after: int, *, is_content: bool = True
) -> _Place | None:
    """The first place of `text` in the pieces from `at` on, there after the letter `after`."""
    if not text.strip():
        return None
    for index in range(at, min(at + _AHEAD, len(encoded))):
        piece = encoded[index][0]
        if piece.is_control:
            continue
        place = _find(text, piece.text, after if index == at else 0, is_content=is_content)
        if place is not None:
            return _Place(index, *place)
    return None


def _find(wanted: str, text: str, after: int, *, is_content: bool) -> tuple[int, int] | None:
    """Start and end of `wanted` in `text`; templates may trim it. A content is best at the end: the words before it (the
    role) may hold a short one, too."""
    for each in (wanted, wanted.strip()):
        at_end = len(text) - len(each)
        is_at_end = is_content and at_end >= after and text.endswith(each)
        start = at_end if is_at_end else text.find(each, after)
        if start >= 0:
            return start, start + len(each)
    return None
