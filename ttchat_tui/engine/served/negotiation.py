"""A request's negotiation with a server: what is sent, and what is sent instead after a refusal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationStarted, RequestAdapted
from ttchat_tui.domain.generation import GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.recording import ALTERNATIVES
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, PromptTooLong
from ttchat_tui.engine.served.adaptation import LENGTHS, Adaptation
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.counting import PromptCounter
from ttchat_tui.engine.served.dialects import Dialect
from ttchat_tui.engine.served.errors import status_error
from ttchat_tui.engine.served.overflow import Overflow, overflow
from ttchat_tui.engine.served.refusal import parse_refusal
from ttchat_tui.engine.served.request import as_sent, body_of
from ttchat_tui.engine.text.template import shorten

RESERVE: Final = 512
"""Tokens kept free for the reply, as in `prompt_builder`."""
_SHORTER: Final = 0.6
"""Factor by which a prompt is cut if it was refused as too long without a number."""
_MOST_CHANGES: Final = 16
"""Most changes to one request. Each removes something for good or shortens the prompt."""
_OBJECTIONS: Final = frozenset({400, 404, 405, 406, 409, 413, 415, 422, 500, 501})
"""Statuses of refusals that a changed request may avoid."""


class ServerQuirks:
    """What was learned from the refusals of one model of one server; kept while the app runs."""

    def __init__(self) -> None:
        self.adaptation = Adaptation()
        self.context_length = 0
        """Tokens of prompt and reply; 0 until a refusal names it."""


class FittedPrompt(msgspec.Struct, frozen=True):
    """The messages of a conversation that fit."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    is_estimate: bool
    dropped: int
    keep: tuple[int, ...] = ()
    """Positions in `messages`."""


class RowSampling(msgspec.Struct, frozen=True):
    """Sampling parameters and seed of one row."""

    sampling: SamplingParams
    seed: int


def budget_of(context_length: int) -> int:
    """Most tokens of a prompt."""
    return context_length - min(RESERVE, context_length // 4)


class Negotiation:
    """The negotiation for all rows of a request; they share what is learned."""

    def __init__(
        self,
        request: GenerationRequest,
        prompt: FittedPrompt,
        *,
        model: str,
        dialect: Dialect,
        caller: Caller,
        counter: PromptCounter,
        quirks: ServerQuirks,
        capabilities: Capabilities,
        asks_logprobs: bool,
        known_models: Sequence[str],
    ) -> None:
        self.prompt = prompt
        """The prompt as it was last sent."""
        self.capabilities = capabilities
        self._request = request
        self._model = model
        self._dialect = dialect
        self._caller = caller
        self._counter = counter
        self._quirks = quirks
        self._asks_logprobs = asks_logprobs
        self._known_models = known_models
        self._changes = 0
        self._longest = 0
        """Tokens the server has left for the reply, if it said so; else 0."""
        self._news: deque[GenerationStarted | RequestAdapted] = deque()

    def started(self) -> GenerationStarted:
        return GenerationStarted(
            request_id=self._request.id,
            prompt_tokens=self.prompt.tokens,
            cached_tokens=0,
            context_length=self._quirks.context_length,
            dropped_messages=self.prompt.dropped,
            is_estimate=self.prompt.is_estimate,
            is_chunked=True,
        )

    def new_events(self) -> Iterator[GenerationStarted | RequestAdapted]:
        """Events about changes since the last call."""
        while self._news:
            yield self._news.popleft()

    def body(self, terms: RowSampling) -> dict[str, Any]:
        """The request body of one row, in the form the server is known to accept."""
        context, sampling = self._quirks.context_length, terms.sampling
        room = self._longest or (context - self.prompt.tokens if context else sampling.max_tokens)
        body = body_of(
            self._dialect,
            self._model,
            self.prompt.messages,
            sampling,
            terms.seed,
            continue_last=self._request.continue_last and self._dialect.continuing is not None,
            max_tokens=max(min(sampling.max_tokens, room), 1),
            logprobs=self._asks_logprobs,
            alternatives=ALTERNATIVES if self._request.record == "full" else 0,
            bias=self._counter.bias_ids(sampling.logit_bias),
        )
        fields = self._quirks.adaptation.applied(body)
        fields["messages"] = [as_sent(message, self._dialect) for message in fields["messages"]]
        return {**fields, **self._own}

    def answer(
        self, terms: RowSampling, status: int, answer: bytes, sent: Mapping[str, Any]
    ) -> dict[str, Any] | EngineError:
        """Answer a refusal of `sent`: a changed request body, or the error."""
        if status in _OBJECTIONS and self._changes < _MOST_CHANGES * self._request.rows:
            self._changes += 1
            body = self.body(terms)
            if body != sent:  # another row has learned this already
                return body
            too_long = overflow(status, answer)
            if too_long is not None and (too_long.limit or not parse_refusal(answer).fields(LENGTHS)):
                return self._shortened(terms, too_long)
            self._adapt(sent, answer)
            body = self.body(terms)
            if body != sent:
                return body
            if too_long is not None:
                return self._shortened(terms, too_long)
        return status_error(
            status,
            answer,
            self._caller.endpoint,
            has_key=self._caller.has_key,
            model=self._model,
            known=self._known_models,
        )

    @property
    def _own(self) -> Mapping[str, Any]:
        return self._caller.endpoint.extra_body

    def _adapt(self, sent: Mapping[str, Any], answer: bytes) -> None:
        before = self._quirks.adaptation
        adaptation = before.learn_from(sent, parse_refusal(answer), own=self._own)
        if adaptation == before:
            return
        self._quirks.adaptation = adaptation
        sampling = adaptation.sampling(self._dialect)
        self.capabilities = msgspec.structs.replace(
            self.capabilities,
            sampling=sampling,
            thinking=tuple(
                level for level in adaptation.thinking(self._dialect) if level in self.capabilities.thinking
            ),
            logprobs=self.capabilities.logprobs and "logprobs" not in adaptation.refused,
        )
        who = f"{self._model} at {self._caller.endpoint.name}"
        notes = adaptation.notes(before, who, self._dialect)
        self._news.append(RequestAdapted(self._request.id, notes, self.capabilities))

    def _shortened(self, terms: RowSampling, too_long: Overflow) -> dict[str, Any] | EngineError:
        """A request for a shorter reply or, if that does not help, without the oldest turns."""
        prompt, tokens, limit = self.prompt, too_long.prompt_tokens, too_long.limit
        if limit:
            self._quirks.context_length = limit
        if tokens:
            self._counter.learn(prompt.messages, tokens)
        known = self._counter.known(prompt.messages).tokens
        # Without numbers from the server, our own count has been too low.
        has_numbers = bool(tokens and limit)
        budget = budget_of(limit) if has_numbers else min(int(known * _SHORTER), budget_of(limit or known))
        plan = shorten(prompt.messages, lambda kept: self._counter.known(kept).tokens, budget, prompt.keep)
        if has_numbers and tokens < limit and (tokens <= budget or not plan.dropped):
            room = limit - tokens
            if room < terms.sampling.max_tokens and room != self._longest:
                self._longest = room
                return self.body(terms)
        if not plan.dropped:
            return self._too_long(tokens, limit)
        self._longest = 0
        dropped = prompt.dropped + plan.dropped
        is_estimate = self._counter.known(plan.messages).is_estimate
        self.prompt = FittedPrompt(plan.messages, plan.tokens, is_estimate, dropped, plan.keep)
        self._news.append(self.started())
        return self.body(terms)

    def _too_long(self, tokens: int, limit: int) -> PromptTooLong:
        place = f"The context of {self._model} at {self._caller.endpoint.name}"
        size = f"takes {tokens:,} tokens" if tokens else "takes more"
        holds = f"{place} holds {limit:,} tokens, reply included" if limit else f"{place} is full"
        return PromptTooLong(
            f"{holds}; with the system prompt this message {size}.",
            "Shorten the message or the system prompt, or take a model with a longer context.",
        )
