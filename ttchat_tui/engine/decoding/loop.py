"""The decode loop that every in-process engine shares: a job and a stepper in, generation events out. A single reply is a batch of
one row."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    RowFinished,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import END_OF_THOUGHT
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.timeline import ColdWork
from ttchat_tui.engine.base import PromptTooLong
from ttchat_tui.engine.decoding.ending import Ending, ending_of_batch
from ttchat_tui.engine.decoding.job import LiveSampling, ReplyJob
from ttchat_tui.engine.decoding.row import Drawn, ReplyRow
from ttchat_tui.engine.decoding.step_clock import Forward

_Outputs: TypeAlias = Sequence[NDArray[np.float32] | Drawn] | NDArray[np.float32]
"""Logits or a drawn token for each live row."""


class PrefillAborted(Exception):
    """Raised by `prefill` when `report` returned False. The KV cache holds the ids computed so far."""


class AnyStepper(Protocol):
    """A model with one KV cache, fed with token ids. It knows nothing about text or turns.

    The next token is sampled by the host from logits, or by the device: the return type of `step` decides.
    """

    def cached_prefix(self, ids: Sequence[int]) -> int:
        """How many leading ids the KV cache already holds; at most `len(ids) - 1`, so that one is left to compute."""
        ...

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        """Make the KV cache hold exactly `ids`, computing what `cached_prefix` does not cover.

        `report(done, total)` is called after each chunk, in ids, cached ones included.

        Returns:
            Logits after the last id, float32 [vocab]; valid until the next call.

        Raises:
            PrefillAborted: `report` returned False.
        """
        ...

    def step(self, token_id: int) -> NDArray[np.float32] | Drawn:
        """Append one id to the KV cache.

        Returns:
            Logits after it, float32 [vocab], valid until the next call; or the token that the device sampled.
        """
        ...

    def expect(self, ids: Sequence[int]) -> None:
        """The next steps get these ids, in this order: they may be computed together."""

    def becomes_long(self, length: int) -> bool:
        """Whether a conversation of so many ids is computed in another way than shorter ones, from its first id on (LongRoPE)."""
        return False

    @property
    def forwards(self) -> int | None:
        """Decode forwards since the last prefill; None if each step is one forward."""
        return None

    @property
    def is_drafted(self) -> bool:
        """The last step took no forward of its own: an earlier forward had computed its logits."""
        return False

    @property
    def cold_work(self) -> ColdWork:
        """Of the last prefill or step."""
        return ""


class Stepper(AnyStepper, Protocol):
    """A stepper that leaves sampling to the host."""

    def step(self, token_id: int) -> NDArray[np.float32]:
        """Append one id to the KV cache; logits after it, float32 [vocab], valid until the next call."""
        ...


class BatchStepper(AnyStepper, Protocol):
    """A stepper whose KV cache can be forked into rows that share one prompt.

    The order of calls is `prefill`, `fork`, any number of `step_rows` and `freeze`, `join`.
    """

    def fork(self, rows: int) -> None:
        """Start a batch of `rows` live rows, numbered from 0. Each continues the KV cache."""
        ...

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32] | Sequence[Drawn]:
        """Append one id to each live row, in order of row number.

        Returns:
            Logits after them, float32 [live rows, vocab], in the same order, valid until the next call; or the tokens
            that the device sampled, one for each live row.
        """
        ...

    def freeze(self, row: int) -> None:
        """Take a finished row out of the batch: it is no longer live."""
        ...

    def join(self) -> None:
        """End the batch; also called after an error. The KV cache holds the prompt.

        Ids of rows may be kept for `cached_prefix` to find where that is free.
        """
        ...


def run_generation(job: ReplyJob, stepper: AnyStepper) -> Iterator[GenerationEvent]:
    """Stream one reply: `GenerationStarted`, progress, one `TokenEvent` per token, last `GenerationFinished`.

    Cancel is checked between steps and between prefill chunks; a pause begins between steps, and tokens that the user
    chooses are taken there. Sampling parameters are read for each token; stop strings and seed are those of the request.
    The first token is sampled on the host, from the prefill's logits.

    The reply ends with `length` at max_tokens and with `context` when prompt and reply fill the context. An exception of
    the stepper ends it with `error` and keeps the tokens so far; only `EngineDied` is raised.
    """
    return _DecodeLoop(job, stepper).events()


def run_batch(job: ReplyJob, stepper: BatchStepper) -> Iterator[GenerationEvent]:
    """Stream a reply for each row, as `run_generation`, with a `RowFinished` where a row ends.

    One prefill serves all rows, and each step advances those that still run. A row gives the same ids as
    `run_generation` with the row's seed and sampling. Cancel ends all rows. An error in one row (its logits are
    unusable) ends that row; an error in the stepper ends all that still run.
    """
    return _DecodeLoop(job, stepper, stepper).events()


class _DecodeLoop(Ending):
    """One run of the loop. As an `Ending` it has the error that ended all rows at once."""

    def __init__(self, job: ReplyJob, stepper: AnyStepper, batch: BatchStepper | None = None) -> None:
        """`batch` is the same stepper, where it steps several rows."""
        super().__init__()
        own_clock = job.clock
        self._job = job = msgspec.structs.replace(job, clock=lambda: own_clock() - self._paused_s)
        self._paused_s = 0.0
        """All pauses so far. The job's clock stops during them, so that no figure of the reply includes one."""
        self._stepper = stepper
        self._batch = batch
        self._rows = [
            ReplyRow(job, number, LiveSampling(job.request, job.control, number), text_stream)
            for number, text_stream in zip(range(job.request.rows), job.text_streams, strict=True)
        ]
        self._logits: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        """After the prompt's last id, once prefill is complete."""
        self._forward = Forward(0.0, 0.0)
        """The latest one; before the first step the end of prefill."""
        self._has_started = False
        self._stepped: list[int] = []
        """Ids that the stepper got after the prompt, those of the first live row."""
        self._may_become_long = stepper.becomes_long(job.context_length)
        self._forwards_before = 0
        """Decode forwards before the reply was read anew."""
        self._forced_taken = 0
        """Of the control's forced tokens, by the rows."""

    def events(self) -> Iterator[GenerationEvent]:
        with self.catch_errors(f"request {self._job.request.id}"):
            for event in self._prefill():
                for row in self._rows:
                    row.meter.observe(event)
                yield event
            with self._forked():
                yield from self._decode()
        yield from self._shown_step(is_last=True)
        for row in self._rows:
            if row.reason is None:
                if self.error is not None:
                    row.fail(self.error)
                else:
                    row.reason = "cancelled"
                if self._batch is not None and self._has_started:
                    yield from row.rest()
                    yield row.row_finished()
        if self._batch is None:
            yield from self._rows[0].rest()
            yield self._rows[0].generation_finished(self._forwards())
        else:
            yield self._batch_finished()

    @property
    def _is_cancelled(self) -> bool:
        return self._job.control.is_cancelled

    def _prefill(self) -> Iterator[GenerationStarted | PrefillProgress]:
        """Put the prompt into the KV cache, a chunk at a time. A cancel ends it early.

        Raises:
            PromptTooLong: there is no room for a single token of a reply. Prompts are trimmed to fit where they are built;
                this is the last check before the KV cache.
        """
        job, total = self._job, len(self._job.prompt_ids)
        if total >= job.context_length:
            raise PromptTooLong(
                f"The prompt has {total:,} tokens, the context holds {job.context_length:,}.",
                cure="Shorten the message or start a new conversation.",
            )
        done = self._stepper.cached_prefix(job.prompt_ids)
        self._has_started = True
        yield GenerationStarted(
            request_id=job.request.id,
            prompt_tokens=total,
            cached_tokens=done,
            context_length=job.context_length,
            dropped_messages=job.dropped_messages,
            time_s=job.now_s(),
            received_at_s=job.received_s,
            template_s=job.template_s,
            tokenise_s=job.tokenise_s,
            is_first=job.is_first,
            prompt_ids=tuple(job.prompt_ids) if job.request.record != "off" else (),
        )
        for held in self._read(job.prompt_ids, done):
            read_s = job.now_s()
            self._forward = Forward(read_s, read_s)
            yield PrefillProgress(job.request.id, held, total, time_s=read_s, work=self._stepper.cold_work)

    def _read(self, ids: Sequence[int], done: int) -> Iterator[int]:
        """Put `ids` into the KV cache, which holds `done` of them: how many it holds after each chunk. A cancel ends it early;
        else the logits after the last id are there."""

        def note(now: int, total: int) -> bool:
            nonlocal done
            done = now
            return not self._is_cancelled and (now == total or now < end)

        while done < len(ids) and not self._is_cancelled:
            end = done + self._job.prefill_chunk
            try:
                self._logits = self._stepper.prefill(ids, note)
                done = len(ids)
            except PrefillAborted:  # by `note`: because of a cancel, or at the end of the chunk
                if self._is_cancelled:
                    return
            yield done

    @contextmanager
    def _forked(self) -> Generator[None, None, None]:
        """Fork the KV cache for a batch, and join it whatever happens."""
        if self._batch is None or self._is_cancelled:
            yield
            return
        self._batch.fork(len(self._rows))
        try:
            yield
        finally:
            self._batch.join()

    def _decode(self) -> Iterator[GenerationEvent]:
        """Tokens until every row has ended or the request is cancelled. A pause comes before a step, so that what the user
        changes meanwhile acts on the next token, also where the device samples it."""
        live: list[ReplyRow] = self._rows
        self._stepper.expect(self._job.followed[:-1])
        yield from self._await_step(live)
        outputs: _Outputs = [self._logits] * len(live)
        while live and not self._is_cancelled:
            for row, output in zip(live, outputs, strict=True):
                token = row.accept(output, self._forward, is_drafted=self._stepper.is_drafted)
                yield from row.news()
                if token is not None:
                    yield token
                    row.note_sent()
                    row.check_finished()
                if row.reason is not None:
                    yield from self._frozen(row)
            yield from self._shown_step(is_last=self._rows[0].reason is not None)
            live = [row for row in live if row.reason is None]
            yield from self._await_step(live)
            for row in self._stopped(live):
                row.reason = "cancelled"
                yield from self._frozen(row)
            live = [row for row in live if row.reason is None]
            if live and not self._is_cancelled:
                outputs = yield from self._step(live)

    def _shown_step(self, *, is_last: bool) -> Iterator[StepScores]:
        """What the sampler's preview gets of the newest step, if it is due. `is_last`: no step follows, or none soon."""
        shown = self._rows[0].feed.next(is_last=is_last)
        if shown is not None:
            yield shown

    def _stopped(self, live: Sequence[ReplyRow]) -> list[ReplyRow]:
        """The rows of a batch that the user has stopped."""
        stopped = self._job.control.stopped_rows if self._batch is not None else ()
        return [row for row in live if row.number in stopped and row.reason is None]

    def _frozen(self, row: ReplyRow) -> Iterator[TokenEvent | RowFinished]:
        """Take a row that has ended out of the batch, if there is one."""
        if self._batch is not None:
            self._batch.freeze(row.number)
            yield from row.rest()
            yield row.row_finished()

    def _await_step(self, live: Sequence[ReplyRow]) -> Iterator[GenerationEvent]:
        """Wait while the user pauses the reply, and take the tokens that the user chooses and what is given for the next
        token. The wait ends early where a chosen end token has ended every row."""
        control = self._job.control
        given, tokens = self._job.request.given, live[0].meter.completion_tokens if live else -1
        for change in given.changes:
            if change.at == tokens:
                control.set_sampling(change.sampling)
        for batch in given.batches:
            if batch.at == tokens:
                control.stop_rows(*({row.number for row in live} - {*batch.rows}))
        if live and control.is_paused:
            is_ready = False
            while not is_ready and any(row.reason is None for row in live):
                was_previewed = control.is_previewed
                yield from self._shown_step(is_last=True)
                began_s = self._job.now_s()
                is_ready = control.await_step(self._forced_taken, was_previewed)
                paused_s = self._job.now_s() - began_s
                self._paused_s += paused_s
                for row in live:
                    row.pause(paused_s)
                if not is_ready:  # a row may end here: it has its part of the pause by now
                    yield from self._take_forced(live)
        yield from self._take_forced(live)

    def _take_forced(self, live: Sequence[ReplyRow]) -> Iterator[GenerationEvent]:
        """Give the rows what the user has chosen since the last call: the next token, or another latest one, which the model has
        not seen yet."""
        new = self._job.control.forced[self._forced_taken :]
        self._forced_taken += len(new)
        for forced in new:
            for row in live:
                if row.reason is not None or (row.number and forced.token_id != END_OF_THOUGHT):
                    continue
                if forced.instead_of is None:
                    row.force(forced.token_id)
                elif (token := row.replace(forced.token_id, forced.instead_of)) is not None:
                    yield token
                    row.check_finished()
                yield from row.news()
                if row.reason is not None:
                    yield from self._frozen(row)

    def _step(self, live: Sequence[ReplyRow]) -> Generator[PrefillProgress, None, _Outputs]:
        """Feed each live row its latest token."""
        self._rows[0].feed.before_step()
        numbers = tuple(row.number for row in live) if self._batch is not None else ()
        for row in live:
            row.note_step(numbers)
        began_s = self._job.now_s()
        self._stepped.append(live[0].last_id)
        length, becomes_long = len(self._job.prompt_ids) + len(self._stepped), self._stepper.becomes_long
        if self._batch is not None:
            outputs = self._batch.step_rows([row.last_id for row in live])
        elif self._may_become_long and becomes_long(length) and not becomes_long(length - 1):
            yield from self._read_anew()
            outputs = (self._logits,)
        else:
            outputs = (self._stepper.step(live[0].last_id),)
        self._forward = Forward(began_s, self._job.now_s(), self._stepper.cold_work)
        return outputs

    def _read_anew(self) -> Iterator[PrefillProgress]:
        """Compute prompt and reply again. The time is that of the step, so that the progress has none."""
        self._forwards_before += 1 + (self._stepper.forwards or 0)
        ids = [*self._job.prompt_ids, *self._stepped]
        for done in self._read(ids, 0):
            yield PrefillProgress(self._job.request.id, done, len(ids))
        self._stepper.expect(self._job.followed[len(self._stepped) : -1])

    def _forwards(self) -> int | None:
        return None if (last := self._stepper.forwards) is None else self._forwards_before + last

    def _batch_finished(self) -> GenerationFinished:
        meter = Meter.of_batch([row.meter for row in self._rows])
        meter.finished(self._job.now_s())
        reason, error = ending_of_batch(self, self._rows)
        return GenerationFinished(self._job.request.id, reason, stats=meter.stats(), error=error)
