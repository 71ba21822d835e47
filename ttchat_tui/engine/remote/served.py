"""Answers requests through one model of one server: what of the conversation fits, its rows on their way, the end."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    PromptCounted,
    Retrying,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, PromptTooLong, refusal, require_batch
from ttchat_tui.engine.prompt import fit, shorten
from ttchat_tui.engine.remote.caller import Caller
from ttchat_tui.engine.remote.counting import PromptCounter
from ttchat_tui.engine.remote.dialects import Dialect
from ttchat_tui.engine.remote.errors import overflow, refused
from ttchat_tui.engine.remote.exchange import Inbox, Woken
from ttchat_tui.engine.remote.reply import RemoteReply
from ttchat_tui.engine.remote.request import body_of, is_thinking, without_thoughts
from ttchat_tui.engine.remote.row import MOST_ROWS, Row, Transport
from ttchat_tui.engine.remote.script import WHOLE, Seam

_RESERVE: Final = 512
"""Tokens kept free for a reply, as in `prompt_builder`."""
_DOUBT: Final = 1.25
"""By so much an estimate may be short of the truth."""
_OPTIONAL: Final = ("stream_options", "continuous_usage_stats", "return_progress", "logprobs", "seed")
"""Fields without which a reply is the same: left out for a server that refuses them."""


_GO_ON: Final = (
    "Your last message was cut off after the words “{tail}”. Go on with it from exactly there: "
    "no introduction, nothing repeated."
)
"""Asks for the rest of a reply where the dialect has no way to go on at the very token."""
_TAIL: Final = 60
"""Characters of the unfinished reply that are named to the model."""


class _Cancelled(Exception):
    """The user gave the reply up before it was sent."""


class Prompt(msgspec.Struct, frozen=True):
    """What is sent of a conversation."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    is_estimate: bool
    dropped: int


class ServedReplies:
    """One model of one server."""

    def __init__(
        self,
        caller: Caller,
        dialect: Dialect,
        model: str,
        counter: PromptCounter,
        *,
        context_length: int,
        options: RemoteOptions,
        batch_sizes: Sequence[int],
        known_models: Sequence[str] = (),
    ) -> None:
        """`context_length` 0: not known; a refusal that names it will tell."""
        self._caller = caller
        self._dialect = dialect
        self._model = model
        self._context_length = context_length
        self._options = options
        self._batch_sizes = batch_sizes
        self._known_models = known_models
        self._counter = counter
        self._leave_out: frozenset[str] = frozenset()

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        """As `Engine.count`."""
        messages = without_thoughts(messages)
        whole = self._counter.count(messages)
        tokens, dropped = whole.tokens, 0
        if self._context_length and tokens > self._budget:
            plan = shorten(messages, lambda kept: self._counter.count(kept).tokens, self._budget)
            tokens, dropped = plan.tokens, plan.dropped
        return PromptCounted(
            count_id=count_id,
            prompt_tokens=tokens,
            context_length=self._context_length,
            dropped_messages=dropped,
            is_estimate=whole.is_estimate,
        )

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        """As `Engine.generate`."""
        received_s = time.perf_counter()
        try:
            require_batch(request, self._batch_sizes)
            messages = without_thoughts(request.messages)
            if request.continue_last and self._dialect.continuing is None:
                tail = messages[-1].content[-_TAIL:].strip()
                messages = (*messages, ChatMessage("user", _GO_ON.format(tail=tail)))
            prompt = self._prompt(messages, control)
        except _Cancelled:
            yield GenerationFinished(request.id, "cancelled", GenerationStats())
            return
        except EngineError as error:
            yield refusal(request, error.info)
            return
        yield GenerationStarted(
            request_id=request.id,
            prompt_tokens=prompt.tokens,
            cached_tokens=0,
            context_length=self._context_length,
            dropped_messages=prompt.dropped,
            is_estimate=prompt.is_estimate,
            is_by_pieces=True,
        )
        inbox: Inbox = queue.SimpleQueue()
        rows = self._rows(request, control, prompt, inbox, received_s)
        control.subscribe(lambda _: inbox.put(Woken()))
        try:
            yield from self._run(request, control, rows, prompt, inbox, received_s)
        finally:
            for row in rows:
                row.close()

    # -- what is sent

    @property
    def _budget(self) -> int:
        return self._context_length - min(_RESERVE, self._context_length // 4)

    def _prompt(self, messages: tuple[ChatMessage, ...], control: GenerationControl) -> Prompt:
        """What fits. The server is asked to count only where an estimate leaves a doubt: asking costs a round trip.

        Raises:
            PromptTooLong: a single message does not fit.
            _Cancelled: while the server was asked.
        """

        def tick() -> None:
            if control.is_cancelled:
                raise _Cancelled

        count = self._counter.known(messages)
        wanted = count.tokens * (_DOUBT if count.is_estimate else 1.0) + _RESERVE
        if not self._context_length or wanted <= self._context_length:
            return Prompt(messages, count.tokens, count.is_estimate, 0)
        plan = fit(
            messages,
            lambda kept: self._counter.count(kept, tick).tokens,
            self._context_length,
            self._context_length - self._budget,
        )
        return Prompt(
            plan.messages, plan.tokens, self._counter.known(plan.messages).is_estimate, plan.dropped
        )

    def _rows(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        prompt: Prompt,
        inbox: Inbox,
        received_s: float,
    ) -> list[Row]:
        rows: list[Row] = []
        drawn = [(control.sampling, request.seed)]
        drawn += [(each.sampling or control.sampling, each.seed) for each in request.candidates]
        for number, (sampling, seed) in enumerate(drawn):
            reply = RemoteReply(
                request.id, number, sampling.stop, seam=self._seam(request), prompt_tokens=prompt.tokens
            )
            body = self._body(request, prompt, sampling, seed)

            def objection(
                status: int, answer: bytes, sampling: SamplingParams = sampling, seed: int = seed
            ) -> dict[str, Any] | EngineError:
                return self._objection(status, answer, request, prompt, sampling, seed)

            transport = Transport(self._caller, self._options, inbox, objection, received_s)
            rows.append(Row(number, reply, body, transport))
        return rows

    def _seam(self, request: GenerationRequest) -> Seam:
        if not request.continue_last:
            return WHOLE
        text = request.messages[-1].content
        return Seam(
            is_thinking=is_thinking(request.messages),
            is_exact=self._dialect.continuing is not None,
            last=text[-1:],
        )

    def _body(
        self, request: GenerationRequest, prompt: Prompt, sampling: SamplingParams, seed: int, most: int = 0
    ) -> dict[str, Any]:
        """`most`: the longest reply that the server has room for, where it has said so."""
        room = most or (self._context_length - prompt.tokens if self._context_length else sampling.max_tokens)
        return body_of(
            self._dialect,
            self._model,
            prompt.messages,
            sampling,
            seed,
            continue_last=request.continue_last and self._dialect.continuing is not None,
            max_tokens=max(min(sampling.max_tokens, room), 1),
            logprobs=self._options.logprobs,
            leave_out=self._leave_out,
        )

    def _objection(
        self,
        status: int,
        answer: bytes,
        request: GenerationRequest,
        prompt: Prompt,
        sampling: SamplingParams,
        seed: int,
    ) -> dict[str, Any] | EngineError:
        """A request that was refused, so that the server would take it; else why it cannot be."""
        too_long = overflow(status, answer)
        if too_long is not None and too_long.limit:
            self._context_length = too_long.limit
            if 0 < too_long.prompt_tokens < too_long.limit:
                self._counter.learn(prompt.messages, too_long.prompt_tokens)
                most = too_long.limit - too_long.prompt_tokens
                if most < sampling.max_tokens:
                    return self._body(
                        request, prompt, msgspec.structs.replace(sampling, max_tokens=most), seed, most
                    )
            return self._too_long(prompt, too_long.prompt_tokens, too_long.limit)
        if status in (400, 422):
            text = answer.decode("utf-8", "replace")
            named = {name for name in _OPTIONAL if name in text} - self._leave_out
            named = {"stream_options" if name == "continuous_usage_stats" else name for name in named}
            if named - self._leave_out:
                self._leave_out |= named
                return self._body(request, prompt, sampling, seed)
        return refused(
            status,
            answer,
            self._caller.endpoint,
            has_key=self._caller.has_key,
            model=self._model,
            known=self._known_models,
        )

    def _too_long(self, prompt: Prompt, tokens: int, limit: int) -> PromptTooLong:
        """The next try will leave out what has to go: the limit and the size of a token are known now."""
        if tokens:
            self._counter.learn(prompt.messages, tokens)
        plan = shorten(prompt.messages, lambda kept: self._counter.known(kept).tokens, self._budget)
        size = f"{tokens:,} tokens" if tokens else "more tokens than that"
        cure = (
            f"Send it again: the oldest {plan.dropped} messages are left out then; nothing is deleted."
            if plan.dropped
            else "Shorten the message or the system prompt, or take a model with a longer context."
        )
        return PromptTooLong(
            f"The context of {self._model} at {self._caller.endpoint.name} holds {limit:,} tokens, reply included; "
            f"this conversation takes {size}.",
            cure,
        )

    # -- what comes

    def _run(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        rows: list[Row],
        prompt: Prompt,
        inbox: Inbox,
        received_s: float,
    ) -> Iterator[GenerationEvent]:
        is_prefilled = False
        ends: list[RowFinished] = []
        if not control.is_cancelled:
            for row in rows:
                row.send(time.perf_counter())
        while len(ends) < len(rows):
            live = [row for row in rows if row.reason is None]
            if control.is_cancelled:
                for row in live:
                    row.cancel()
            for event in self._step(rows, live, inbox) if not control.is_cancelled else ():
                if isinstance(event, TokenEvent) and not is_prefilled:
                    is_prefilled = True
                    yield PrefillProgress(request.id, prompt.tokens, prompt.tokens)
                yield event
            for row in live:
                if row.reason is not None:
                    ends.append(self._end_of(request, row, prompt, received_s))
                    if request.candidates:
                        yield ends[-1]
        yield _finished(request, ends)

    def _step(
        self, rows: list[Row], live: list[Row], inbox: Inbox
    ) -> Iterator[TokenEvent | PrefillProgress | Retrying]:
        """One arrival, or one deadline that passed."""
        first = min(live, key=lambda row: row.deadline_s)
        try:
            arrival = inbox.get(timeout=max(first.deadline_s - time.perf_counter(), 0.0))
        except queue.Empty:
            first.expire(time.perf_counter())
            yield from first.news()
            return
        if arrival.tag >= 0:
            row = rows[arrival.tag % MOST_ROWS]
            yield from row.take(arrival)
            yield from row.news()

    def _end_of(self, request: GenerationRequest, row: Row, prompt: Prompt, received_s: float) -> RowFinished:
        text = row.reply.flush()
        total_s = time.perf_counter() - received_s
        assert row.reason is not None
        stats = row.reply.stats(
            row.reason, context_length=self._context_length, dropped=prompt.dropped, total_s=total_s
        )
        if row.reply.prompt_tokens is not None and not request.continue_last:
            self._counter.learn(prompt.messages, row.reply.prompt_tokens)
        reason: FinishReason = row.reason
        if reason == "length" and self._is_full(stats):
            reason = "context"
        return RowFinished(request.id, row.number, reason, stats, text, row.error)

    def _is_full(self, stats: GenerationStats) -> bool:
        return bool(self._context_length) and (
            stats.prompt_tokens + stats.completion_tokens >= self._context_length
        )


def _finished(request: GenerationRequest, ends: Sequence[RowFinished]) -> GenerationFinished:
    """The last event: of a single row its end, of a batch the sum."""
    by_row = sorted(ends, key=lambda end: end.row)
    first = by_row[0]
    if not request.candidates:
        return GenerationFinished(request.id, first.reason, first.stats, first.text, first.error)
    worst = next((end for end in by_row if end.reason == "error"), None)
    worst = worst or next((end for end in by_row if end.reason == "cancelled"), first)
    rates = [end.stats.decode_tps for end in by_row if end.stats.decode_tps is not None]
    firsts = [end.stats.ttft_s for end in by_row if end.stats.ttft_s is not None]
    stats = msgspec.structs.replace(
        first.stats,
        completion_tokens=sum(end.stats.completion_tokens for end in by_row),
        decode_tps=sum(rates) if rates else None,
        ttft_s=min(firsts, default=None),
        chunks=sum(end.stats.chunks or 0 for end in by_row),
        total_s=max(end.stats.total_s or 0.0 for end in by_row),
    )
    return GenerationFinished(request.id, worst.reason, stats, error=worst.error)
