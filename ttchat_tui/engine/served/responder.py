"""Answers requests over one model of one server: fits the conversation, sends the rows, merges their events."""

from __future__ import annotations

import queue
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    PrefillProgress,
    PromptCounted,
    Retrying,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import (
    NOTHING_GIVEN,
    FinishReason,
    GenerationControl,
    GenerationRequest,
    GenerationStats,
)
from ttchat_tui.domain.model_spec import Capabilities, RemoteOptions
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import CannotFollow, EngineError, problem_of, refusal, require_rows
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.counting import PromptCounter
from ttchat_tui.engine.served.dialects import Dialect
from ttchat_tui.engine.served.exchange import Inbox, Woken
from ttchat_tui.engine.served.following import Following
from ttchat_tui.engine.served.negotiation import (
    RESERVE,
    FittedPrompt,
    Negotiation,
    RowSampling,
    ServerQuirks,
    budget_of,
)
from ttchat_tui.engine.served.reply_assembler import WHOLE, Seam, seam_of
from ttchat_tui.engine.served.request import as_read, constraint_fields
from ttchat_tui.engine.served.row_request import MAX_ROWS, RowRequest, Transport
from ttchat_tui.engine.served.served_reply import ServedReply
from ttchat_tui.engine.text.template import fit, shorten

_DOUBT: Final = 1.25
"""Factor by which an estimate may be too low."""
_GO_ON: Final = (
    "Your last message was cut off after the words “{tail}”. Go on with it from exactly there: "
    "no introduction, nothing repeated."
)
"""Asks for the rest of a reply if the dialect cannot continue at the exact token."""
_TAIL: Final = 60
"""Characters of the unfinished reply that are quoted to the model."""


class _Cancelled(Exception):
    """The user cancelled before the request was sent."""


class ServedResponder:
    """Answers requests with one model of one server."""

    def __init__(
        self,
        caller: Caller,
        dialect: Dialect,
        model: str,
        counter: PromptCounter,
        *,
        quirks: ServerQuirks,
        options: RemoteOptions,
        capabilities: Capabilities,
        known_models: Sequence[str] = (),
    ) -> None:
        self._caller = caller
        self._dialect = dialect
        self._model = model
        self._quirks = quirks
        self._options = options
        self._capabilities = capabilities
        self._known_models = known_models
        self._counter = counter

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        """As `Engine.count`."""
        messages = as_read(messages, self._dialect, sampling.keep_thoughts)
        whole = self._counter.count(messages)
        tokens, fallen = whole.tokens, ()
        if self._context_length and tokens > self._budget:
            plan = shorten(messages, lambda kept: self._counter.count(kept).tokens, self._budget, keep)
            tokens, fallen = plan.tokens, plan.fallen
        return PromptCounted(
            count_id=count_id,
            prompt_tokens=tokens,
            context_length=self._context_length,
            dropped_messages=len(fallen),
            is_estimate=whole.is_estimate,
            message_tokens=self._counter.shares(messages, whole.tokens),
            fallen=fallen,
            is_split_estimated=True,
            bias_problem=problem_of(lambda: self._counter.bias_ids(sampling.logit_bias)),
            constraint_problem=problem_of(lambda: self._require_constraint(sampling)),
        )

    def _require_constraint(self, sampling: SamplingParams) -> None:
        """Raises UnusableConstraint."""
        if sampling.constraint is not None:
            constraint_fields(self._dialect, sampling.constraint)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        """As `Engine.generate`."""
        received_s = time.perf_counter()
        try:
            if request.given.is_followed and self._dialect.has_prompt_logprobs:
                following = Following(self._caller, self._model, self._context_length, control, received_s)
                yield from following.events(request)
                return
            if request.given != NOTHING_GIVEN:
                raise CannotFollow(
                    f"{self._dialect.name} answers messages only: it takes no given tokens.",
                    "Use an engine of this machine: --engine cpu.",
                )
            require_rows(request.rows, self._capabilities.batch_sizes)
            for sampling in (
                request.sampling,
                *(row.sampling or request.sampling for row in request.candidates),
            ):  # an error is that of the request
                self._counter.bias_ids(sampling.logit_bias)
                self._require_constraint(sampling)
            messages = as_read(
                request.messages,
                self._dialect,
                request.sampling.keep_thoughts,
                continue_last=request.continue_last,
            )
            if request.continue_last and self._dialect.continuing is None:
                tail = messages[-1].content[-_TAIL:].strip()
                messages = (*messages, ChatMessage("user", _GO_ON.format(tail=tail)))
            prompt = self._prompt(messages, request.keep, control)
        except _Cancelled:
            yield GenerationFinished(request.id, "cancelled", GenerationStats())
            return
        except EngineError as error:
            yield refusal(request, error.info)
            return
        negotiation = Negotiation(
            request,
            prompt,
            model=self._model,
            dialect=self._dialect,
            caller=self._caller,
            counter=self._counter,
            quirks=self._quirks,
            capabilities=self._capabilities,
            asks_logprobs=self._options.logprobs,
            known_models=self._known_models,
        )
        yield msgspec.structs.replace(negotiation.started(), received_at_s=received_s)
        inbox: Inbox = queue.SimpleQueue()
        rows = self._rows(request, control, negotiation, inbox, received_s)
        control.subscribe(lambda _: inbox.put(Woken()))
        try:
            yield from self._run(request, control, rows, negotiation, inbox, received_s)
        finally:
            self._capabilities = negotiation.capabilities
            for row in rows:
                row.close()

    # -- what is sent

    @property
    def _context_length(self) -> int:
        return self._quirks.context_length

    @property
    def _budget(self) -> int:
        return budget_of(self._context_length)

    def _prompt(
        self, messages: tuple[ChatMessage, ...], keep: tuple[int, ...], control: GenerationControl
    ) -> FittedPrompt:
        """The messages that fit. The server is asked to count only if an estimate is too close: it costs a round trip.

        Raises:
            PromptTooLong: a single message does not fit.
            _Cancelled: the user cancelled while the server was counting.
        """

        def tick() -> None:
            if control.is_cancelled:
                raise _Cancelled

        count = self._counter.known(messages)
        wanted = count.tokens * (_DOUBT if count.is_estimate else 1.0) + RESERVE
        if not self._context_length or wanted <= self._context_length:
            return FittedPrompt(messages, count.tokens, count.is_estimate, 0, keep)
        plan = fit(
            messages,
            lambda kept: self._counter.count(kept, tick).tokens,
            self._context_length,
            self._context_length - self._budget,
            keep,
        )
        is_estimate = self._counter.known(plan.messages).is_estimate
        return FittedPrompt(plan.messages, plan.tokens, is_estimate, plan.dropped, plan.keep)

    def _rows(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        negotiation: Negotiation,
        inbox: Inbox,
        received_s: float,
    ) -> list[RowRequest]:
        rows: list[RowRequest] = []
        drawn = [(control.sampling, request.seed)]
        drawn += [(each.sampling or control.sampling, each.seed) for each in request.candidates]
        for number, (sampling, seed) in enumerate(drawn):
            reply = ServedReply(
                request.id,
                number,
                sampling.stop,
                seam=self._seam(request),
                prompt_tokens=negotiation.prompt.tokens,
                is_recorded=request.record != "off",
            )
            terms = RowSampling(sampling, seed)
            transport = Transport(
                self._caller, self._options, inbox, partial(negotiation.answer, terms), received_s
            )
            rows.append(RowRequest(number, reply, negotiation.body(terms), transport))
        return rows

    def _seam(self, request: GenerationRequest) -> Seam:
        if not request.continue_last:
            return WHOLE
        return seam_of(request.messages[-1].content, is_exact=self._dialect.continuing is not None)

    # -- what comes

    def _run(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        rows: list[RowRequest],
        negotiation: Negotiation,
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
            for row in live:
                if control.is_cancelled or (request.candidates and row.number in control.stopped_rows):
                    row.cancel()
            waiting = [row for row in live if row.reason is None]
            for event in self._step(rows, waiting, inbox) if waiting else ():
                if isinstance(event, TokenEvent) and not is_prefilled:
                    is_prefilled = True
                    tokens = negotiation.prompt.tokens
                    yield PrefillProgress(request.id, tokens, tokens)
                yield event
            yield from negotiation.new_events()
            for row in live:
                if row.reason is not None:
                    ends.append(self._end_of(request, row, negotiation.prompt, received_s))
                    if request.candidates:
                        yield ends[-1]
        yield _finished(request, ends)

    def _step(
        self, rows: list[RowRequest], live: list[RowRequest], inbox: Inbox
    ) -> Iterator[TokenEvent | PrefillProgress | Retrying]:
        """Handle one arrival, or one deadline."""
        first = min(live, key=lambda row: row.deadline_s)
        try:
            arrival = inbox.get(timeout=max(first.deadline_s - time.perf_counter(), 0.0))
        except queue.Empty:
            first.handle_deadline(time.perf_counter())
            yield from first.retry_events()
            return
        if arrival.tag >= 0:
            row = rows[arrival.tag % MAX_ROWS]
            yield from row.accept(arrival)
            yield from row.retry_events()

    def _end_of(
        self, request: GenerationRequest, row: RowRequest, prompt: FittedPrompt, received_s: float
    ) -> RowFinished:
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
    """The final event: the end of a single row, or the sum of a batch."""
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
