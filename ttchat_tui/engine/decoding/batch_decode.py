"""The decode loop for several candidates: one prefill, one step for all rows that still run, each row its own reply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import ErrorInfo, GenerationEvent, GenerationFinished
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.loop import PREFILL_CHUNK, AnyStepper, PromptRun
from ttchat_tui.engine.decoding.row import Drawn, Ending, ReplyRow, ReplyText


class BatchStepper(AnyStepper, Protocol):
    """A stepper whose KV cache can be forked into rows that go on apart from one prompt.

    `prefill`, `fork`, any number of `step_rows` and `freeze`, `join`; in between no other call.
    """

    def fork(self, rows: int) -> None:
        """Begin a batch: `rows` rows, numbered from 0, each of which has what the KV cache holds. All are live."""
        ...

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32] | Sequence[Drawn]:
        """Append one id to each live row, in order of row number.

        Returns:
            Logits after them, float32 [live rows, vocab], in the same order, valid until the next call; or what the
            device drew from them, one token for each.
        """
        ...

    def freeze(self, row: int) -> None:
        """The row with this number has ended: it is not live any more. What cannot drop it masks it."""
        ...

    def join(self) -> None:
        """End the batch, whatever happened in it. The KV cache holds the prompt; row ids that can be found again at
        no cost may be kept for `cached_prefix` to find."""
        ...


def run_batch(
    request: GenerationRequest,
    control: GenerationControl,
    *,
    prompt_ids: Sequence[int],
    stepper: BatchStepper,
    text_streams: Sequence[ReplyText],
    stop_ids: Collection[int],
    context_length: int,
    clock: Callable[[], float],
    received_s: float,
    dropped_messages: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
) -> Iterator[GenerationEvent]:
    """Stream a batch: `GenerationStarted`, progress, a `TokenEvent` for each token of each row, a `RowFinished` where
    a row ends, last `GenerationFinished`.

    Arguments are as in `run_generation`, with one text stream for each row of the request, in order. A row gives the
    ids that `run_generation` gives with the row's seed and sampling. Rows step together; one that has ended costs
    nothing. Cancel ends all rows. What goes wrong in one row (no logit of it can be used) ends that row; what goes
    wrong in the stepper ends all that still run.
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
    rows = [
        ReplyRow(
            request.id,
            number,
            seed=seed,
            sampling=sampling,
            prompt_ids=prompt_ids,
            text_stream=text_stream,
            stop_ids=frozenset(stop_ids),
            context_length=context_length,
            now_s=prompt.now_s,
        )
        for number, ((seed, sampling), text_stream) in enumerate(
            zip(_draws(request, control), text_streams, strict=True)
        )
    ]
    yield from _Batch(prompt, stepper, rows).events()


def _draws(
    request: GenerationRequest, control: GenerationControl
) -> Iterator[tuple[int, Callable[[], SamplingParams]]]:
    """Seed and sampling of each row."""
    yield request.seed, lambda: control.sampling
    for candidate in request.candidates:
        own = candidate.sampling
        yield candidate.seed, (lambda: control.sampling) if own is None else (lambda own=own: own)


class _Batch(Ending):
    """The state of one running batch; as an `Ending` it holds what ended all rows at once."""

    def __init__(self, prompt: PromptRun, stepper: BatchStepper, rows: Sequence[ReplyRow]) -> None:
        super().__init__()
        self._prompt = prompt
        self._stepper = stepper
        self._rows = rows
        self._meter = Meter()

    def events(self) -> Iterator[GenerationEvent]:
        with self.guard(f"batch {self._prompt.request.id}"):
            for event in self._prompt.events():
                for meter in (self._meter, *(row.meter for row in self._rows)):
                    meter.observe(event)
                yield event
            with ExitStack() as stack:
                if not self._is_cancelled:
                    self._stepper.fork(len(self._rows))
                    stack.callback(self._stepper.join)
                yield from self._decode()
        if self._prompt.has_started:
            yield from self._end_all()
        yield self._finished()

    @property
    def _is_cancelled(self) -> bool:
        return self._prompt.control.is_cancelled

    def _decode(self) -> Iterator[GenerationEvent]:
        """Tokens until every row has ended or the batch is cancelled."""
        live = list(self._rows)
        following: Sequence[NDArray[np.float32] | Drawn] | NDArray[np.float32] = [self._prompt.logits] * len(
            live
        )
        while live and not self._is_cancelled:
            for row, own in zip(live, following, strict=True):
                yield from self._take(row, own)
            live = [row for row in live if row.reason is None]
            if live and not self._is_cancelled:
                following = self._stepper.step_rows([row.last_id for row in live])

    def _take(self, row: ReplyRow, following: NDArray[np.float32] | Drawn) -> Iterator[GenerationEvent]:
        """The next token of `row`, and its end where that is it."""
        token = None
        with row.guard(f"row {row.row} of batch {self._prompt.request.id}"):
            token = row.take(following)
        if token is not None:
            self._meter.observe(token)
            yield token
            row.settle()
        if row.reason is not None:
            self._stepper.freeze(row.row)
            yield row.row_finished()

    def _end_all(self) -> Iterator[GenerationEvent]:
        """The rows that still run end with the batch: by its error, else by the cancel."""
        for row in self._rows:
            if row.reason is None:
                if self.error is not None:
                    row.fail(self.error)
                else:
                    row.reason = "cancelled"
                yield row.row_finished()

    def _finished(self) -> GenerationFinished:
        self._meter.finished(self._prompt.now_s())
        reason, error = self._whole()
        return GenerationFinished(
            request_id=self._prompt.request.id, reason=reason, stats=self._meter.stats(), error=error
        )

    def _whole(self) -> tuple[FinishReason, ErrorInfo | None]:
        """An error in any row is the batch's, then a cancel; else row 0 speaks for it."""
        endings: list[Ending] = [self, *self._rows]
        for ending in endings:
            if ending.error is not None:
                return "error", ending.error
        if any(row.reason == "cancelled" for row in self._rows):
            return "cancelled", None
        reason = self._rows[0].reason
        assert reason is not None
        return reason, None
