"""Prompt builder for every engine: chat template, trimming to the context, and the ledger of generated ids."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams, Thinking
from ttchat_tui.domain.thoughts import opens_thought
from ttchat_tui.engine.text.message_tokens import message_tokens, written_pieces
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece, fit, shorten
from ttchat_tui.engine.text.thinking import with_thoughts
from ttchat_tui.engine.text.token_ledger import (
    NO_UNFINISHED_REPLY,
    EncodedPiece,
    PieceEncoder,
    TokenLedger,
    UnfinishedReply,
    WrittenReply,
)

_RESERVE: Final = 512
"""Tokens kept free for a reply, or a quarter of the context if that is less. The same for every request, so that a count
predicts the prompt of a reply exactly."""


_REPLIES: Final = 4_096
"""Replies whose text is remembered: it is needed for each count."""


def _unknown(_ids: tuple[int, ...]) -> WrittenReply:
    return WrittenReply("", ())


class EncodedPrompt(msgspec.Struct, frozen=True):
    """A prompt as ids, ready for the model."""

    encoded: tuple[EncodedPiece, ...]
    dropped: int
    """How many messages were left out."""
    template_s: float = 0.0
    """How long its chat template took, in seconds, also for messages that did not fit."""
    tokenise_s: float = 0.0

    @property
    def ids(self) -> list[int]:
        return [token_id for _, ids in self.encoded for token_id in ids]

    @property
    def tail(self) -> str:
        """As `_tail`."""
        return _tail([piece for piece, _ in self.encoded])


class CountedPrompt(msgspec.Struct, frozen=True):
    """What `PromptBuilder.build` would make of some messages."""

    tokens: int
    """Length of the prompt, template included."""
    message_tokens: tuple[int, ...]
    """Tokens of the text of each message, also of those that fall out."""
    fallen: tuple[int, ...]
    """Positions of the messages that fall out."""

    @property
    def dropped(self) -> int:
        return len(self.fallen)


class PromptBuilder:
    """Builds the prompts of one loaded model."""

    def __init__(
        self,
        template: ChatTemplate,
        encoder: PieceEncoder,
        context_length: int,
        clock: Callable[[], float] = time.perf_counter,
        as_written: Callable[[tuple[int, ...]], WrittenReply] = _unknown,
    ) -> None:
        """`as_written`: see `written_pieces`."""
        self._clock = clock
        self._template = template
        self._ledger = TokenLedger(encoder)
        self._as_written = lru_cache(_REPLIES)(as_written)
        self._context_length = context_length
        self._reserve = min(_RESERVE, context_length // 4)

    def build(
        self,
        messages: Sequence[ChatMessage],
        *,
        keep: Collection[int] = (),
        continue_last: bool = False,
        unfinished: UnfinishedReply = NO_UNFINISHED_REPLY,
        sampling: SamplingParams = DEFAULTS,
    ) -> EncodedPrompt:
        """`keep`: as in `GenerationRequest`. `unfinished` is the reply to continue, with its ids. Of `sampling`,
        `TEMPLATE_FIELDS` matter.

        Raises:
            PromptTooLong: a single message does not fit.
            TemplateError: the template refuses these messages.
        """

        made: dict[tuple[ChatMessage, ...], tuple[EncodedPiece, ...]] = {}
        template_s = tokenise_s = 0.0

        def count(kept: Sequence[ChatMessage]) -> int:
            nonlocal template_s, tokenise_s
            began_s = self._clock()
            pieces = self._pieces(kept, continue_last, unfinished, sampling.thinking)
            rendered_s = self._clock()
            encoded = made[tuple(kept)] = tuple(self._encoded(kept, pieces, unfinished))
            template_s += rendered_s - began_s
            tokenise_s += self._clock() - rendered_s
            return sum(len(ids) for _, ids in encoded)

        messages = with_thoughts(messages, sampling.keep_thoughts)
        fitted = fit(messages, count, self._context_length, self._reserve, keep)
        return EncodedPrompt(made[fitted.messages], fitted.dropped, template_s, tokenise_s)

    def _pieces(
        self,
        messages: Sequence[ChatMessage],
        continue_last: bool,
        unfinished: UnfinishedReply,
        thinking: Thinking,
    ) -> tuple[PromptPiece, ...]:
        """Where the template does not repeat the reply to continue as the model wrote it (it removes thoughts, say), the prompt
        is the one that the reply answered, followed by its text."""
        pieces = self._template.pieces(messages, continue_last=continue_last, thinking=thinking)
        if not unfinished.ids or unfinished.is_end_of(pieces) or len(messages) < 2:
            return pieces
        asked = self._template.pieces(messages[:-1], thinking=thinking)
        if opens_thought(_tail(asked)) != unfinished.opens_in_prompt:
            return pieces
        return unfinished.after(asked)

    def count(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> CountedPrompt:
        """The prompt that `build` would make; if it would refuse the messages, that of the smallest set that is left.

        Raises:
            TemplateError: the template refuses these messages.
        """
        made: dict[tuple[ChatMessage, ...], list[EncodedPiece]] = {}

        def count(kept: Sequence[ChatMessage]) -> int:
            pieces = self._template.pieces(kept, thinking=sampling.thinking)
            encoded = made[tuple(kept)] = self._encoded(kept, pieces)
            return sum(len(ids) for _, ids in encoded)

        whole = with_thoughts(messages, sampling.keep_thoughts)
        fitted = shorten(whole, count, self._context_length - self._reserve, keep)
        tokens = list(message_tokens(whole, made[whole], self._length_of))
        if fitted.fallen:  # other ids may be remembered for the shorter prompt
            gone = set(fitted.fallen)
            left = (position for position in range(len(whole)) if position not in gone)
            kept = message_tokens(fitted.messages, made[fitted.messages], self._length_of)
            for position, number in zip(left, kept, strict=True):
                tokens[position] = number
        return CountedPrompt(fitted.tokens, tuple(tokens), fitted.fallen)

    def _encoded(
        self,
        messages: Sequence[ChatMessage],
        pieces: Sequence[PromptPiece],
        unfinished: UnfinishedReply = NO_UNFINISHED_REPLY,
    ) -> list[EncodedPiece]:
        if not any(message.token_ids for message in messages):
            return self._ledger.encode(pieces, unfinished)
        return self._ledger.encode(pieces, unfinished, written_pieces(messages, pieces, self._as_written))

    def _length_of(self, text: str) -> int:
        return self._ledger.length_of(text)

    def remember(self, prompt: EncodedPrompt, reply_ids: Sequence[int], reply_text: str) -> None:
        """Remember a reply (its ids without control tokens, and their text) for the next prompt."""
        self._ledger.remember(prompt.encoded, reply_ids, reply_text)


def _tail(pieces: Sequence[PromptPiece]) -> str:
    """The end of a prompt's text, long enough to hold a tag."""
    return "".join(piece.text for piece in pieces[-3:])
