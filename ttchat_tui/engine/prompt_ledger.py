"""Keeps the ids that a model has written, so that the next prompt is built from them and the KV cache fits exactly.

A reply's text, tokenised again, need not give the ids that were sampled. The ledger remembers the last prompt and reply
piece by piece; a new prompt takes the remembered ids for as many leading pieces as are the same, and only the rest is
tokenised. Pieces end at control tokens, where tokenisation is independent of what came before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ttchat_tui.engine.prompt import Piece


class PieceEncoder(Protocol):
    def encode_pieces(self, pieces: Sequence[Piece], start: int = 0) -> list[tuple[int, ...]]:
        """The ids of each piece from `pieces[start]` on; the earlier ones are there as context only."""
        ...


class TokenLedger:
    """The pieces of the last prompt with its reply, and their ids."""

    def __init__(self, encoder: PieceEncoder) -> None:
        self._encoder = encoder
        self._known: list[tuple[Piece, tuple[int, ...]]] = []

    def encode(self, pieces: Sequence[Piece]) -> list[int]:
        """The ids of a prompt."""
        return [token_id for ids in self._encode(pieces) for token_id in ids]

    def remember(self, pieces: Sequence[Piece], reply_ids: Sequence[int], reply_text: str) -> None:
        """Note what the model wrote after the prompt `pieces`: its ids (no control tokens) and their whole text."""
        known = list(zip(pieces, self._encode(pieces), strict=True))
        if known and not known[-1][0].is_control:
            last, ids = known.pop()
            known.append((Piece(last.text + reply_text, False), (*ids, *reply_ids)))
        else:
            known.append((Piece(reply_text, False), tuple(reply_ids)))
        self._known = known

    def _encode(self, pieces: Sequence[Piece]) -> list[tuple[int, ...]]:
        same = 0
        for piece, (known, _) in zip(pieces, self._known, strict=False):
            if piece != known:
                break
            same += 1
        return [ids for _, ids in self._known[:same]] + self._encoder.encode_pieces(pieces, same)
