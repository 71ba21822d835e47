"""Keeps the ids that a model has written, so that the next prompt is built from them and the KV cache fits exactly.

A reply's text, tokenised again, need not give the ids that were sampled. The ledger remembers the last prompt and reply
piece by piece; a new prompt takes the remembered ids for as many leading pieces as are the same, and only the rest is
tokenised. Pieces end at control tokens, where tokenisation is independent of what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

from ttchat_tui.engine.text.template import PromptPiece


class PieceEncoder(Protocol):
    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        """The ids of each piece from `pieces[start]` on; the earlier ones are there as context only."""
        ...


EncodedPiece: TypeAlias = tuple[PromptPiece, tuple[int, ...]]
"""A piece, and its ids."""


class UnfinishedReply(NamedTuple):
    """The unfinished reply that a prompt ends with, as the model wrote it."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    """What they stand for, as the prompt may have it: with and without the space that a first word brings."""


NO_UNFINISHED_REPLY = UnfinishedReply((), ())


class TokenLedger:
    """The pieces of the last prompt with its reply, and their ids."""

    def __init__(self, encoder: PieceEncoder) -> None:
        self._encoder = encoder
        self._known: list[tuple[PromptPiece, tuple[int, ...]]] = []

    def encode(
        self, pieces: Sequence[PromptPiece], unfinished: UnfinishedReply = NO_UNFINISHED_REPLY
    ) -> list[EncodedPiece]:
        """The ids of a prompt, piece by piece. Where it ends with an `unfinished` reply, these are its last ids."""
        last = pieces[-1] if pieces else None
        if last is None or last.is_control:
            return self._encode(pieces)
        for text in filter(last.text.endswith, filter(None, unfinished.texts)):
            head = PromptPiece(last.text.removesuffix(text), False)
            before = self._encode([*pieces[:-1], head] if head.text else pieces[:-1])
            head_ids = before.pop()[1] if head.text else ()
            return [*before, (last, (*head_ids, *unfinished.ids))]
        return self._encode(pieces)

    def remember(self, prompt: Sequence[EncodedPiece], reply_ids: Sequence[int], reply_text: str) -> None:
        """Note what the model wrote after the prompt: its ids (no control tokens) and their whole text."""
        known = list(prompt)
        if known and not known[-1][0].is_control:
            last, ids = known.pop()
            known.append((PromptPiece(last.text + reply_text, False), (*ids, *reply_ids)))
        else:
            known.append((PromptPiece(reply_text, False), tuple(reply_ids)))
        self._known = known

    def _encode(self, pieces: Sequence[PromptPiece]) -> list[EncodedPiece]:
        same = 0
        for piece, (known, _) in zip(pieces, self._known, strict=False):
            if piece != known:
                break
            same += 1
        ids = [ids for _, ids in self._known[:same]] + self._encoder.encode_pieces(pieces, same)
        return list(zip(pieces, ids, strict=True))
