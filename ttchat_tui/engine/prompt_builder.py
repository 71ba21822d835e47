"""Messages → ids: template, trimming to the context and the ledger of generated ids, as one thing that engines share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.prompt import ChatTemplate, Piece, Plan, fit, shorten
from ttchat_tui.engine.prompt_ledger import PieceEncoder, TokenLedger

_RESERVE: Final = 512
"""Tokens kept free for a reply (a quarter of the context where that is less). The same for every request, so that
what a count foretells is what a reply then gets."""


class Prompt(msgspec.Struct, frozen=True):
    """A prompt, ready for the model."""

    pieces: tuple[Piece, ...]
    ids: list[int]
    dropped: int
    """Messages left out."""


class PromptBuilder:
    """Builds the prompts of one loaded model."""

    def __init__(self, template: ChatTemplate, encoder: PieceEncoder, context_length: int) -> None:
        self._template = template
        self._ledger = TokenLedger(encoder)
        self._context_length = context_length
        self._reserve = min(_RESERVE, context_length // 4)

    def build(self, messages: Sequence[ChatMessage], *, continue_last: bool = False) -> Prompt:
        """
        Raises:
            PromptTooLong: a single message does not fit.
            TemplateError: the template refuses these messages.
        """

        def pieces_of(kept: Sequence[ChatMessage]) -> tuple[Piece, ...]:
            return self._template.pieces(kept, continue_last=continue_last)

        plan = fit(
            messages,
            lambda kept: len(self._ledger.encode(pieces_of(kept))),
            self._context_length,
            self._reserve,
        )
        pieces = pieces_of(plan.messages)
        return Prompt(pieces, self._ledger.encode(pieces), plan.dropped)

    def count(self, messages: Sequence[ChatMessage]) -> Plan:
        """What `build` would make of `messages`; where it would refuse them, the least that they take.

        Raises:
            TemplateError: the template refuses these messages.
        """
        return shorten(
            messages,
            lambda kept: len(self._ledger.encode(self._template.pieces(kept))),
            self._context_length - self._reserve,
        )

    def remember(self, prompt: Prompt, reply_ids: Sequence[int], reply_text: str) -> None:
        """Note a reply (ids without control tokens, and their whole text), so that its ids are used again."""
        self._ledger.remember(prompt.pieces, reply_ids, reply_text)
