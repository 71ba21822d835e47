"""Ledger of generated ids: the next prompt reuses them, so that it matches the KV cache exactly.

Tokenising a reply's text again may give other ids than were sampled. The ledger remembers the last prompt and reply piece
by piece. A new prompt reuses the remembered ids for as many leading pieces as are equal, and only the rest is tokenised.
Replies that come with their ids (`ChatMessage.token_ids`) need no memory: they are the same in another process.
Pieces end at control tokens, where tokenisation does not depend on the text before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from ttchat_tui.engine.text.template import PromptPiece


class PieceEncoder(Protocol):
    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        """The ids of each piece from `pieces[start]` on. Earlier pieces are context only."""
        ...


EncodedPiece: TypeAlias = tuple[PromptPiece, tuple[int, ...]]
"""A piece and its ids."""


class WrittenReply(NamedTuple):
    """An earlier reply as the model wrote it."""

    text: str
    ids: tuple[int, ...]


class UnfinishedReply(NamedTuple):
    """A reply to continue, as the model wrote it: the end of a prompt."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    """Their text as the prompt may contain it: with and without the space before the first word."""
    opens_in_prompt: bool = False
    """It begins in a thought that the template opened."""

    def is_end_of(self, pieces: Sequence[PromptPiece]) -> bool:
        """Whether a prompt ends with its text, so that it can end with its ids."""
        last = pieces[-1] if pieces else None
        return (
            last is not None and not last.is_control and last.text.endswith(tuple(filter(None, self.texts)))
        )

    def after(self, pieces: Sequence[PromptPiece]) -> tuple[PromptPiece, ...]:
        """The prompt that it answers, and its text."""
        if not pieces or pieces[-1].is_control:
            return (*pieces, PromptPiece(self.texts[0], False))
        return (*pieces[:-1], PromptPiece(pieces[-1].text + self.texts[0], False))


NO_UNFINISHED_REPLY = UnfinishedReply((), ())


class TokenLedger:
    """The pieces of the last prompt with its reply, and their ids."""

    def __init__(self, encoder: PieceEncoder) -> None:
        self._encoder = encoder
        self._known: list[EncodedPiece] = []

    def encode(
        self,
        pieces: Sequence[PromptPiece],
        unfinished: UnfinishedReply = NO_UNFINISHED_REPLY,
        written: Mapping[int, WrittenReply] | None = None,
    ) -> list[EncodedPiece]:
        """The ids of a prompt, piece by piece. If it ends with the text of `unfinished`, it ends with those ids. `written`: the
        replies that pieces end with, by the number of the piece, which have those ids there; None: they are not known."""
        last = pieces[-1] if pieces else None
        if last is None or last.is_control:
            return self._encode(pieces, written)
        # Half a character is no text yet: its ids follow what comes before the reply.
        texts = [*filter(None, unfinished.texts)] or [""] * bool(unfinished.ids)
        for text in filter(last.text.endswith, texts):
            head = PromptPiece(last.text.removesuffix(text), False)
            earlier = written and {
                number: reply for number, reply in written.items() if number < len(pieces) - 1
            }
            before = self._encode([*pieces[:-1], head] if head.text else pieces[:-1], earlier)
            head_ids = before.pop()[1] if head.text else ()
            return [*before, (last, (*head_ids, *unfinished.ids))]
        return self._encode(pieces, written)

    def length_of(self, text: str) -> int:
        """Tokens of a text inside a prompt."""
        return len(self._encoder.encode_pieces([PromptPiece("", False), PromptPiece(text, False)], 1)[0])

    def remember(self, prompt: Sequence[EncodedPiece], reply_ids: Sequence[int], reply_text: str) -> None:
        """Remember the reply to a prompt: its ids (without control tokens) and their text."""
        known = list(prompt)
        if known and not known[-1][0].is_control:
            last, ids = known.pop()
            known.append((PromptPiece(last.text + reply_text, False), (*ids, *reply_ids)))
        else:
            known.append((PromptPiece(reply_text, False), tuple(reply_ids)))
        self._known = known

    def _encode(
        self, pieces: Sequence[PromptPiece], written: Mapping[int, WrittenReply] | None
    ) -> list[EncodedPiece]:
        same = 0
        # Where the messages have their ids, those alone decide: so a conversation that is opened again has the same prompt, and
        # a version of a reply has its own ids, not those of another version with the same text.
        remembered = self._known if written is None else ()
        for piece, (known, _) in zip(pieces, remembered, strict=False):
            if piece != known:
                break
            same += 1
        heads, written = list(pieces), written or {}
        for number, reply in written.items():
            heads[number] = PromptPiece(pieces[number].text.removesuffix(reply.text), False)
        ids = [ids for _, ids in self._known[:same]] + self._encoder.encode_pieces(heads, same)
        for number, reply in written.items():
            ids[number] += reply.ids
        return list(zip(pieces, ids, strict=True))
