"""The one decode loop that every in-process engine shares: a stepper in, generation events out.

A reply's ids are its text's: the end-of-turn id that ends it is in no event, is not counted and is no text. Only a
stop string leaves ids whose text is not part of the reply; these tokens were generated, and count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import (
    ErrorInfo,
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.engine.base import EngineDied, EngineError, PromptTooLong
from ttchat_tui.engine.meter import Meter
from ttchat_tui.engine.sampler import Sampled, Sampler

PREFILL_CHUNK: Final = 256
"""Prompt tokens between two progress events: at 500 tokens a second, two events a second."""

_log = logging.getLogger(__name__)


class PrefillAborted(Exception):
    """Raised by `Stepper.prefill` when `report` returned False. The KV cache holds what was computed until then."""


class Stepper(Protocol):
    """A model with one KV cache, fed with token ids. It knows nothing of text, sampling or the end of a turn."""

    def cached_prefix(self, ids: Sequence[int]) -> int:
        """How many leading ids the KV cache already holds; at most `len(ids) - 1`, so that there is one to compute."""
        ...

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        """Bring the KV cache to hold exactly `ids`, computing what `cached_prefix` does not cover.

        `report(done, total)` is called after each chunk, in ids, cached ones included.

        Returns:
            Logits after the last id, float32 [vocab]; valid until the next call.

        Raises:
            PrefillAborted: `report` returned False.
        """
        ...

    def step(self, token_id: int) -> NDArray[np.float32]:
        """Append one id to the KV cache; logits after it, float32 [vocab], valid until the next call."""
        ...


class ReplyText(Protocol):
    """Ids in, certain text out, up to the first stop string (`text_stream.TextStream`)."""

    @property
    def is_stopped(self) -> bool:
        """A stop string was found."""
        ...

    def push(self, token_id: int) -> str: ...

    def flush(self) -> str:
        """What was held back and belongs to the reply."""
        ...


def run_generation(
    request: GenerationRequest,
    control: GenerationControl,
    *,
    prompt_ids: Sequence[int],
    stepper: Stepper,
    text_stream: ReplyText,
    stop_ids: Collection[int],
    context_length: int,
    clock: Callable[[], float],
    received_s: float,
    dropped_messages: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
) -> Iterator[GenerationEvent]:
    """Stream one reply: `GenerationStarted`, progress, one `TokenEvent` per token, last `GenerationFinished`.

    `clock` is monotonic and `received_s` its reading when the request arrived. Cancel is looked at between steps
    and between prefill chunks; sampling parameters are read anew for each token (stop strings and seed are those of
    the request). The prompt is handed to the stepper `prefill_chunk` ids further each time, which is what lets
    progress out between two chunks; what is cached is not computed again.

    The reply ends with `length` when it has max_tokens, with `context` when prompt and reply fill the context.
    Whatever the stepper raises ends it with `error` and keeps what came; only `EngineDied` is passed on.
    """
    reply = _Reply(
        request=request,
        control=control,
        prompt_ids=prompt_ids,
        stepper=stepper,
        text_stream=text_stream,
        stop_ids=frozenset(stop_ids),
        context_length=context_length,
        clock=clock,
        received_s=received_s,
    )
    error: ErrorInfo | None = None
    reason: FinishReason = "error"
    try:
        started = reply.start(dropped_messages)
        yield started
        yield from reply.prefill(started.cached_tokens, prefill_chunk)
        yield from reply.decode()
        reason = reply.reason
    except EngineDied:
        raise
    except PrefillAborted:
        reason = "cancelled"
    except EngineError as failure:
        error = failure.info
    except Exception as failure:  # noqa: BLE001 - the boundary: an engine's exceptions are not ours to know
        _log.exception("reply %d failed", request.id)
        error = _internal(failure)
    yield reply.finish(reason, error)


@dataclass(kw_only=True)
class _Reply:
    """The state of one running reply. `reason` is valid after `decode` has ended."""

    request: GenerationRequest
    control: GenerationControl
    prompt_ids: Sequence[int]
    stepper: Stepper
    text_stream: ReplyText
    stop_ids: Collection[int]
    context_length: int
    clock: Callable[[], float]
    received_s: float
    meter: Meter = field(default_factory=Meter)
    logits: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    reason: FinishReason = "cancelled"

    def start(self, dropped_messages: int) -> GenerationStarted:
        """Whoever builds the prompt trims it to fit; this is the last guard before the KV cache.

        Raises:
            PromptTooLong: no room for a single token of a reply.
        """
        total = len(self.prompt_ids)
        if total >= self.context_length:
            raise PromptTooLong(
                f"The prompt has {total:,} tokens, the context holds {self.context_length:,}.",
                cure="Shorten the message or start a new conversation.",
            )
        event = GenerationStarted(
            request_id=self.request.id,
            prompt_tokens=total,
            cached_tokens=self.stepper.cached_prefix(self.prompt_ids),
            context_length=self.context_length,
            dropped_messages=dropped_messages,
            time_s=self._now_s(),
        )
        self.meter.observe(event)
        return event

    def prefill(self, done: int, chunk: int) -> Iterator[PrefillProgress]:
        """Bring the whole prompt into the KV cache, which holds `done` ids of it already."""
        total = len(self.prompt_ids)
        while done < total:
            if self.control.is_cancelled:
                raise PrefillAborted
            done = min(done + chunk, total)
            self.logits = self.stepper.prefill(self.prompt_ids[:done], self._may_go_on)
            event = PrefillProgress(request_id=self.request.id, done=done, total=total, time_s=self._now_s())
            self.meter.observe(event)
            yield event

    def decode(self) -> Iterator[TokenEvent]:
        """Tokens until one of the reasons to end; it is in `reason` afterwards."""
        sampler = Sampler(len(self.logits), self.request.seed, self.prompt_ids)
        while not self.control.is_cancelled:
            sampled = sampler.sample(self.logits, self.control.sampling)
            if sampled.token_id in self.stop_ids:
                self.reason = "stop"
                return
            yield self._token(sampled)
            ended = self._end_after_token()
            if ended is not None:
                self.reason = ended
                return
            if not self.control.is_cancelled:
                self.logits = self.stepper.step(sampled.token_id)

    def finish(self, reason: FinishReason, error: ErrorInfo | None) -> GenerationFinished:
        """The last event; its text is what was still held back."""
        text = ""
        try:
            text = self.text_stream.flush()
        except Exception as failure:  # noqa: BLE001 - the contract promises a last event, whatever happened
            _log.exception("reply %d: the held-back text is lost", self.request.id)
            reason, error = "error", error or _internal(failure)
        self.meter.finished(self._now_s())
        return GenerationFinished(
            request_id=self.request.id, reason=reason, stats=self.meter.stats(), text=text, error=error
        )

    def _token(self, sampled: Sampled) -> TokenEvent:
        event = TokenEvent(
            request_id=self.request.id,
            token_ids=(sampled.token_id,),
            text=self.text_stream.push(sampled.token_id),
            times_s=(self._now_s(),),
            logprobs=(sampled.logprob,),
        )
        self.meter.observe(event)
        return event

    def _end_after_token(self) -> FinishReason | None:
        """Why the reply is over with the token that just came; None when it goes on."""
        if self.text_stream.is_stopped:
            return "stop"
        if self.meter.completion_tokens >= self.control.sampling.max_tokens:
            return "length"
        if self.meter.context_used >= self.context_length:
            return "context"
        return None

    def _may_go_on(self, done: int, total: int) -> bool:
        return not self.control.is_cancelled

    def _now_s(self) -> float:
        return self.clock() - self.received_s


def _internal(failure: Exception) -> ErrorInfo:
    return ErrorInfo(
        kind="internal",
        message=f"The engine failed: {type(failure).__name__}: {failure}",
        cure="What came is kept; the log has the details. If it goes on, load the model again.",
    )
