"""The one decode loop that every in-process engine shares: a stepper in, generation events out.

A reply's ids are its text's: the end-of-turn id that ends it is in no event, is not counted and is no text. Only a
stop string leaves ids whose text is not part of the reply; these tokens were generated, and count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
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
        request, control, stepper, text_stream, frozenset(stop_ids), context_length, clock, received_s
    )
    error: ErrorInfo | None = None
    reason: FinishReason = "error"
    try:
        reply.check(prompt_ids)
        yield reply.start(prompt_ids, dropped_messages)
        yield from reply.prefill(prompt_ids, prefill_chunk)
        yield from reply.decode()
        reason = reply.reason
    except EngineDied:
        raise
    except PrefillAborted:
        reason = "cancelled"
    except EngineError as failure:
        error = failure.info
    except Exception as failure:
        _log.exception("generation %d failed", request.id)
        error = ErrorInfo(
            kind="internal",
            message=f"The engine failed: {type(failure).__name__}: {failure}",
            cure="What came is kept. The log has the details; load the model again if it goes on.",
        )
    yield reply.finish(reason, error)


class _Reply:
    """The state of one running reply. `reason` is valid after `decode` has ended."""

    def __init__(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        stepper: Stepper,
        text_stream: ReplyText,
        stop_ids: frozenset[int],
        context_length: int,
        clock: Callable[[], float],
        received_s: float,
    ) -> None:
        self._request = request
        self._control = control
        self._stepper = stepper
        self._text_stream = text_stream
        self._stop_ids = stop_ids
        self._context_length = context_length
        self._clock = clock
        self._received_s = received_s
        self._meter = Meter()
        self._prompt_ids: Sequence[int] = ()
        self._cached = 0
        self._logits: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self.reason: FinishReason = "cancelled"

    def check(self, prompt_ids: Sequence[int]) -> None:
        """Whoever builds the prompt trims it to fit; this is the last guard before the KV cache.

        Raises:
            PromptTooLong: no room for a single token of a reply.
        """
        if len(prompt_ids) >= self._context_length:
            raise PromptTooLong(
                f"The prompt has {len(prompt_ids):,} tokens, the context holds {self._context_length:,}.",
                cure="Shorten the message or start a new conversation.",
            )

    def start(self, prompt_ids: Sequence[int], dropped_messages: int) -> GenerationStarted:
        self._prompt_ids = prompt_ids
        self._cached = self._stepper.cached_prefix(prompt_ids)
        event = GenerationStarted(
            request_id=self._request.id,
            prompt_tokens=len(prompt_ids),
            cached_tokens=self._cached,
            context_length=self._context_length,
            dropped_messages=dropped_messages,
            time_s=self._now_s(),
        )
        self._meter.observe(event)
        return event

    def prefill(self, prompt_ids: Sequence[int], chunk: int) -> Iterator[PrefillProgress]:
        total = len(prompt_ids)
        done = self._cached
        while done < total:
            if self._control.is_cancelled:
                raise PrefillAborted
            done = min(done + chunk, total)
            self._logits = self._stepper.prefill(prompt_ids[:done], self._may_go_on)
            event = PrefillProgress(request_id=self._request.id, done=done, total=total, time_s=self._now_s())
            self._meter.observe(event)
            yield event

    def decode(self) -> Iterator[TokenEvent]:
        sampler = Sampler(len(self._logits), self._request.seed, self._prompt_ids)
        while not self._control.is_cancelled:
            sampled = sampler.sample(self._logits, self._control.sampling)
            if sampled.token_id in self._stop_ids:
                self.reason = "stop"
                return
            yield self._token(sampled)
            ended = self._end_after_token()
            if ended is not None:
                self.reason = ended
                return
            if not self._control.is_cancelled:
                self._logits = self._stepper.step(sampled.token_id)

    def finish(self, reason: FinishReason, error: ErrorInfo | None) -> GenerationFinished:
        text = ""
        try:
            text = self._text_stream.flush()
        except Exception as failure:
            _log.exception("reply %d: the held-back text is lost", self._request.id)
            reason = "error"
            error = error or ErrorInfo(
                kind="internal", message=f"The end of the reply cannot be decoded: {failure}"
            )
        self._meter.finished(self._now_s())
        return GenerationFinished(
            request_id=self._request.id, reason=reason, stats=self._meter.stats(), text=text, error=error
        )

    def _token(self, sampled: Sampled) -> TokenEvent:
        event = TokenEvent(
            request_id=self._request.id,
            token_ids=(sampled.token_id,),
            text=self._text_stream.push(sampled.token_id),
            times_s=(self._now_s(),),
            logprobs=(sampled.logprob,),
        )
        self._meter.observe(event)
        return event

    def _end_after_token(self) -> FinishReason | None:
        """Why the reply is over with the token that just came; None when it goes on."""
        if self._text_stream.is_stopped:
            return "stop"
        if self._meter.context_used - len(self._prompt_ids) >= self._control.sampling.max_tokens:
            return "length"
        if self._meter.context_used >= self._context_length:
            return "context"
        return None

    def _may_go_on(self, done: int, total: int) -> bool:
        return not self._control.is_cancelled

    def _now_s(self) -> float:
        return self._clock() - self._received_s
