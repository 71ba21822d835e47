"""The one decode loop that every in-process engine shares: a stepper in, generation events out.

`batch_decode` is the same loop for several candidates at once, on the same `PromptRun` and `ReplyRow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import GenerationEvent, GenerationStarted, PrefillProgress, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.engine.base import PromptTooLong
from ttchat_tui.engine.decoding.row import Drawn, ReplyRow, ReplyText

PREFILL_CHUNK: Final = 256
"""Prompt tokens between two progress events: at 500 tokens a second, two events a second."""


class PrefillAborted(Exception):
    """Raised by `Stepper.prefill` when `report` returned False. The KV cache holds what was computed until then."""


class AnyStepper(Protocol):
    """A model with one KV cache, fed with token ids. It knows nothing of text or the end of a turn.

    What comes next is drawn by the host from its logits, or by the model's own device: `step` says which.
    """

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

    def step(self, token_id: int) -> NDArray[np.float32] | Drawn:
        """Append one id to the KV cache; logits after it, float32 [vocab], valid until the next call, or the token
        that the device drew from them."""
        ...


class Stepper(AnyStepper, Protocol):
    """A stepper that leaves the drawing to the host: it knows nothing of sampling either."""

    def step(self, token_id: int) -> NDArray[np.float32]:
        """Append one id to the KV cache; logits after it, float32 [vocab], valid until the next call."""
        ...


def run_generation(
    request: GenerationRequest,
    control: GenerationControl,
    *,
    prompt_ids: Sequence[int],
    stepper: AnyStepper,
    text_stream: ReplyText,
    stop_ids: Collection[int],
    context_length: int,
    clock: Callable[[], float],
    received_s: float,
    dropped_messages: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
    is_drafted: Callable[[], bool] = lambda: False,
) -> Iterator[GenerationEvent]:
    """Stream one reply: `GenerationStarted`, progress, one `TokenEvent` per token, last `GenerationFinished`.

    `clock` is monotonic and `received_s` its reading when the request arrived. Cancel is looked at between steps
    and between prefill chunks; sampling parameters are read anew for each token (stop strings and seed are those of
    the request). The prompt is handed to the stepper `prefill_chunk` ids further each time, which is what lets
    progress out between two chunks; what is cached is not computed again. `is_drafted` says of the last step whether
    its logits came out of an earlier one's forward.

    The reply ends with `length` when it has max_tokens, with `context` when prompt and reply fill the context.
    The first token is drawn from the prefill's logits, here on the host; the others by whoever `stepper.step` says.
    Whatever the stepper raises ends it with `error` and keeps what came; only `EngineDied` is passed on.
    """
    prompt = PromptRun(
        request=request,
        control=control,
        ids=prompt_ids,
        stepper=stepper,
        context_length=context_length,
        clock=clock,
        received_s=received_s,
        dropped_messages=dropped_messages,
        chunk=prefill_chunk,
    )
    row = ReplyRow(
        request.id,
        seed=request.seed,
        sampling=lambda: control.sampling,
        prompt_ids=prompt_ids,
        text_stream=text_stream,
        stop_ids=frozenset(stop_ids),
        context_length=context_length,
        now_s=prompt.now_s,
    )
    with row.guard(f"reply {request.id}"):
        for event in prompt.events():
            row.meter.observe(event)
            yield event
        yield from _decode(row, prompt, stepper, is_drafted)
    yield row.finished()


def _decode(
    row: ReplyRow, prompt: PromptRun, stepper: AnyStepper, is_drafted: Callable[[], bool]
) -> Iterator[TokenEvent]:
    """Tokens until the row has a reason to end."""
    following: NDArray[np.float32] | Drawn = prompt.logits
    while not prompt.control.is_cancelled:
        token = row.take(following, is_drafted=row.last_id >= 0 and is_drafted())
        if token is None:
            return
        yield token
        row.settle()
        if row.reason is not None:
            return
        if not prompt.control.is_cancelled:
            following = stepper.step(row.last_id)
    row.reason = "cancelled"


@dataclass(kw_only=True)
class PromptRun:
    """The beginning of a reply, or of a batch of them: the prompt goes into the KV cache."""

    request: GenerationRequest
    control: GenerationControl
    ids: Sequence[int]
    stepper: AnyStepper
    context_length: int
    clock: Callable[[], float]
    received_s: float
    dropped_messages: int
    chunk: int
    logits: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    """After the prompt's last id; there once `events` has ended, unless the control is cancelled."""
    has_started: bool = False

    def events(self) -> Iterator[GenerationStarted | PrefillProgress]:
        """Prefill, as far as it gets: a cancel ends it early, and is in the control.

        Whoever builds the prompt trims it to fit; this is the last guard before the KV cache.

        Raises:
            PromptTooLong: no room for a single token of a reply.
        """
        total = len(self.ids)
        if total >= self.context_length:
            raise PromptTooLong(
                f"The prompt has {total:,} tokens, the context holds {self.context_length:,}.",
                cure="Shorten the message or start a new conversation.",
            )
        done = self.stepper.cached_prefix(self.ids)
        self.has_started = True
        yield GenerationStarted(
            request_id=self.request.id,
            prompt_tokens=total,
            cached_tokens=done,
            context_length=self.context_length,
            dropped_messages=self.dropped_messages,
            time_s=self.now_s(),
        )
        while done < total and not self.control.is_cancelled:
            done = min(done + self.chunk, total)
            try:
                self.logits = self.stepper.prefill(self.ids[:done], self._may_go_on)
            except PrefillAborted:
                return
            yield PrefillProgress(request_id=self.request.id, done=done, total=total, time_s=self.now_s())

    def now_s(self) -> float:
        """Seconds since the request arrived."""
        return self.clock() - self.received_s

    def _may_go_on(self, done: int, total: int) -> bool:
        return not self.control.is_cancelled
