"""One row of a generation: sampled ids, the text that is certain, its figures, and why it ended.

The end-of-turn id that ends a reply is not part of it: it does not count, adds no text, and is in no event unless the user
chose it. A stop string does leave ids whose text is not part of the reply; these tokens were generated, and count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import GenerationFinished, RequestAdapted, RowFinished, TokenEvent
from ttchat_tui.domain.generation import END_OF_THOUGHT, FinishReason, GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.recording import (
    BatchChange,
    Distribution,
    Pause,
    RecordedToken,
    SamplingChange,
    ids_of,
    listed,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.ending import Ending
from ttchat_tui.engine.decoding.job import LiveSampling, ReplyJob, ReplyText
from ttchat_tui.engine.decoding.sampler import Sampler
from ttchat_tui.engine.decoding.step_clock import Forward, StepClock
from ttchat_tui.engine.decoding.step_feed import SampledStep, StepFeed
from ttchat_tui.engine.decoding.token_bias import TokenBias


class Drawn(NamedTuple):
    """A token that the device sampled. Its logits never reach the host, so its probability is unknown."""

    token_id: int


_UNFIT: Final = "The chosen token does not fit the constraint of the reply."


class ReplyRow(Ending):
    """One reply: logits or drawn tokens in, token events out, until `reason` is set."""

    def __init__(self, job: ReplyJob, number: int, sampling: LiveSampling, text_stream: ReplyText) -> None:
        super().__init__()
        self.number = number
        self.meter = Meter()
        """Of this row alone. It observes the events of the prefill; `accept` feeds it the tokens."""
        self.last_id = -1
        """The latest token, which the model has not seen yet."""
        self.feed = StepFeed(job)
        """For the sampler's preview, which shows row 0."""
        self._job = job
        self._sampling = sampling
        self._text_stream = text_stream
        self._clock = StepClock(job.now_s)
        self._sampler: Sampler | None = None
        self._sampling_before = self._step_sampling = sampling.begun
        self._sampling_changes = 0
        self._sent_pieces = set[int]()
        self._changes: list[SamplingChange] = []
        """Since the latest token, as `_pauses`."""
        self._pauses: list[Pause] = []
        self._batches: list[BatchChange] = []
        self._batch: tuple[int, ...] = ()
        """The rows of the latest step."""
        self._is_held = bool(job.request.given.batches) and number != job.request.given.row
        """It ends where the batch that is made again went on without it."""
        self._constraint = job.constraints[number] if job.constraints and not self._is_held else None
        self._end: RecordedToken | None = None
        """The end token that the user chose."""
        self._problems: tuple[str, ...] = ()
        """Of the bias in use."""
        self._news: list[str] = []
        self._forced = deque[int]()
        """The next tokens."""
        self._must_end_thought = False
        self._is_ending_thought = False
        """The next forced tokens belong to the end of a thought."""
        self._texts: list[str] = []
        """Of each token."""
        self._text_before: object = None
        """The state of the text stream before the latest token."""
        self._latest: TokenEvent | None = None

    def accept(
        self, output: NDArray[np.float32] | Drawn, forward: Forward, *, is_drafted: bool
    ) -> TokenEvent | None:
        """The next token, from the stepper's output: logits [vocab] or a drawn token. `forward` gave it.

        None when there is none: the turn ended, or this row failed. After the event has been sent, `check_finished`
        decides whether the reply continues.
        """
        try:
            self._clock.begin(forward)
            return self._accept(output, is_drafted)
        except Exception as exception:  # noqa: BLE001 - one row fails alone; see `Ending.fail_with`
            self.fail_with(exception, f"row {self.number} of request {self._job.request.id}")
            return None

    def _accept(self, output: NDArray[np.float32] | Drawn, is_drafted: bool) -> TokenEvent | None:
        sampling = self._noted(self._step_sampling if isinstance(output, Drawn) else self._sampling.now)
        given = self._job.followed[self.meter.completion_tokens] if self._job.followed else None
        chosen = self._next_forced()
        token_id, logprobs, distribution = self._draw(output, sampling, chosen if given is None else given)
        self._clock.note_drawn()
        if token_id in self._job.stop_ids and given is None and not self._is_held:
            self.reason = "stop"
            if chosen is not None:
                self._note_end(token_id, self._job.now_s(), logprobs[0] if logprobs else None, distribution)
            return None
        text = self._push(token_id)
        time_s = self._job.now_s()
        parts = self._clock.take(time_s)
        self.meter.token(time_s, is_drafted=is_drafted, parts=parts)
        pieces, controls = self._new_pieces(token_id, distribution)
        changes, self._changes = self._changes, []
        pauses, self._pauses = self._pauses, []
        batches, self._batches = self._batches, []
        self._latest = TokenEvent(
            request_id=self._job.request.id,
            token_ids=(token_id,),
            text=text,
            times_s=(time_s,),
            logprobs=logprobs,
            drafted=(True,) if is_drafted else (),
            row=self.number,
            distributions=(distribution,) if distribution is not None else (),
            pieces=pieces,
            controls=controls,
            sampling_changes=tuple(changes),
            pauses=tuple(pauses),
            batches=tuple(batches),
            forced=(True,) if chosen is not None else (),
            spent=() if self._job.request.record == "off" else (parts,),
        )
        return self._latest

    def note_step(self, batch: tuple[int, ...]) -> None:
        """The stepper gets the latest token, with those of the rows of `batch`; empty: there is none. A device draws the next
        one with the parameters of now."""
        self._step_sampling = self._sampling.now
        if batch != self._batch and self._job.request.record != "off":
            self._batch, self._batches = batch, [BatchChange(0, batch)]

    def _noted(self, sampling: SamplingParams) -> SamplingParams:
        """These parameters take effect now. If they are others than before, that is recorded."""
        if sampling is not self._sampling_before and sampling != self._sampling_before:
            self._sampling_before = sampling
            self._sampling_changes += self.meter.completion_tokens > 0
            self._changes = [SamplingChange(0, sampling)]
        return sampling

    def _push(self, token_id: int) -> str:
        """Make it the latest token; returns its text."""
        self.last_id = token_id
        self._text_before = self._text_stream.save()
        self._texts.append(self._text_stream.push(token_id))
        if self._constraint is not None:
            self._constraint.take(token_id, self._texts[-1])
        return self._texts[-1]

    def _draw(
        self, output: NDArray[np.float32] | Drawn, sampling: SamplingParams, chosen: int | None
    ) -> tuple[int, tuple[float, ...], Distribution | None]:
        """A token, and its log probability and distribution if the host has its logits."""
        if isinstance(output, Drawn):
            return output.token_id if chosen is None else chosen, (), None
        if self._sampler is None:
            self._sampler = Sampler(len(output), self._sampling.seed, self._job.prompt_ids, self._job.passes)
        allowed = self._constraint.allowed(len(output)) if self._constraint is not None else None
        record, distribution = self._job.request.record, None
        bias = self._bias_of(sampling)
        if record == "off":
            token_id, logprob = self._sampler.sample(output, sampling, bias, allowed, chosen=chosen)
        else:
            (token_id, logprob), distribution = self._sampler.sample_recorded(
                output, sampling, bias, allowed, chosen=chosen, with_alternatives=record == "full"
            )
        if self.number == 0:  # whose steps the preview shows
            history = self._sampler.history
            self.feed.take(
                SampledStep(self.meter.completion_tokens, token_id, output, history, bias, allowed)
            )
        return token_id, (logprob,), distribution

    def _bias_of(self, sampling: SamplingParams) -> TokenBias:
        bias, problems = self._job.find_bias(sampling.logit_bias)
        if problems is not self._problems:
            self._news += [f"{each} It is not biased." for each in problems if each not in self._problems]
            self._problems = problems
        return bias

    def news(self) -> Sequence[RequestAdapted]:
        """What the user has to know about the parameters that were set during the reply."""
        if not self._news:
            return ()
        notes, self._news = tuple(self._news), []
        return (RequestAdapted(self._job.request.id, notes),)

    # --- tokens that the user chooses

    def force(self, token_id: int) -> None:
        """Take this token next, or those that end the thought."""
        if token_id == END_OF_THOUGHT:
            self._must_end_thought = True
        else:
            self._forced.append(token_id)

    def _next_forced(self) -> int | None:
        if self._must_end_thought and self._text_stream.is_whole:
            self._must_end_thought = False
            ending = self._job.thought_end("".join(self._texts))
            self._is_ending_thought = bool(ending)
            self._forced.extend(ending)
        if self._forced and self._constraint is not None and not self._constraint.allows(self._forced[0]):
            self._forced.clear()
            if not self._is_ending_thought:  # the blank lines after its tag, which the form has no place for
                self._news.append(_UNFIT)
        self._is_ending_thought &= bool(self._forced)
        if self._forced:
            return self._forced.popleft()
        given = self._job.request.given
        chosen = given.chosen.get(self.meter.completion_tokens) if given.row == self.number else None
        if chosen is not None and self._constraint is not None and not self._constraint.allows(chosen):
            self._constraint = None  # the user left its form, with a fork
        return chosen

    def replace(self, token_id: int, place: int) -> TokenEvent | None:
        """Put another token in the place of the latest one, which the model has not seen yet. None: the one at `place` is no
        longer the latest, or is the same, or the constraint of the reply forbids it. An end token ends the reply."""
        latest = self._latest
        if latest is None or place != self.meter.completion_tokens - 1 or token_id == self.last_id:
            return None
        if self._constraint is not None:
            self._constraint.take_back()
            if not self._constraint.allows(token_id):
                self._constraint.take(self.last_id, self._texts[-1])
                self._news.append(_UNFIT)
                return None
        self._text_stream.restore(self._text_before)
        withdrawn = len(self._texts.pop())
        if self._sampler is not None:
            self._sampler.history.take_back(self.last_id)
        distribution = latest.distributions[0] if latest.distributions else None
        if token_id in self._job.stop_ids:
            self.meter.withdraw()
            self.reason = "stop"
            self._latest = None
            self._note_end(token_id, latest.times_s[0], *_seen(token_id, distribution))
            return TokenEvent(latest.request_id, (), "", (), row=self.number, replaces=withdrawn)
        if self._sampler is not None:
            self._sampler.history.add(token_id)
        self.feed.replace(token_id)
        logprob, distribution = _seen(token_id, distribution)
        pieces, controls = self._new_pieces(token_id, distribution)
        self._latest = TokenEvent(
            request_id=latest.request_id,
            token_ids=(token_id,),
            text=self._push(token_id),
            times_s=latest.times_s,
            logprobs=(logprob,),
            row=self.number,
            distributions=(distribution,),
            pieces=pieces,
            controls=controls,
            forced=(True,),
            replaces=withdrawn,
            spent=latest.spent,
        )
        return self._latest

    def _note_end(
        self, token_id: int, time_s: float, logprob: float | None, seen: Distribution | None
    ) -> None:
        """The user has chosen this token, which ends the reply."""
        if self._job.request.record == "off":
            return
        self._end = RecordedToken(
            token_id,
            time_s,
            logprob=logprob,
            rank=seen.rank if seen else None,
            entropy=seen.entropy if seen else None,
            alternatives=seen.alternatives if seen else b"",
            is_forced=True,
            is_end=True,
        )

    def rest(self) -> Iterator[TokenEvent]:
        """What has happened since the latest token, before the row's last event."""
        if not (self._changes or self._pauses or self._batches or self._end):
            return
        pieces, controls = self._new_pieces(self._end.token_id, None) if self._end else ({}, {})
        yield TokenEvent(
            self._job.request.id,
            (),
            "",
            (),
            row=self.number,
            pieces=pieces,
            controls=controls,
            sampling_changes=tuple(self._changes),
            pauses=tuple(self._pauses),
            batches=tuple(self._batches),
            end=self._end,
        )

    def _new_pieces(
        self, token_id: int, distribution: Distribution | None
    ) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """The pieces of the token and its alternatives, of those that were not sent yet, and the texts of control tokens among
        them."""
        job = self._job
        if job.request.record == "off":
            return {}, {}
        ids = ids_of(distribution.alternatives) if distribution is not None else ()
        new = {token_id, *ids} - self._sent_pieces
        self._sent_pieces |= new
        texts = job.control_texts
        return {each: job.piece_of(each) for each in new}, {each: texts[each] for each in new & texts.keys()}

    def pause(self, seconds: float) -> None:
        """The user has paused the reply before its next token, or goes on pausing it."""
        if self.reason is None and seconds:
            self.meter.paused(seconds)
            self._pauses = [Pause(0, seconds + sum(each.seconds for each in self._pauses))]

    def note_sent(self) -> None:
        """The latest token's event has been taken."""
        self._clock.note_sent()

    def check_finished(self) -> None:
        """Set `reason` if the latest token ends the reply."""
        followed = self._job.followed
        is_complete = self._constraint is not None and self._constraint.is_complete
        if (self._text_stream.is_stopped or is_complete) and not (followed or self._is_held):
            self.reason = "stop"
        elif self.meter.completion_tokens >= (len(followed) or self._noted(self._sampling.now).max_tokens):
            self.reason = "length"
        elif self.meter.context_used >= self._job.context_length:
            self.reason = "context"

    def generation_finished(self, decode_forwards: int | None) -> GenerationFinished:
        """The last event of a request of one row, with the text held back so far. Needs a `reason`."""
        text, reason = self._close()
        stats = self._stats()
        if stats.completion_tokens:
            stats = msgspec.structs.replace(stats, decode_forwards=decode_forwards)
        return GenerationFinished(
            request_id=self._job.request.id, reason=reason, stats=stats, text=text, error=self.error
        )

    def row_finished(self) -> RowFinished:
        """The last event of this row of a batch, with the text held back so far. Needs a `reason`."""
        text, reason = self._close()
        return RowFinished(
            request_id=self._job.request.id,
            row=self.number,
            reason=reason,
            stats=self._stats(),
            text=text,
            error=self.error,
        )

    def _stats(self) -> GenerationStats:
        has_form = None if self._constraint is None else self._constraint.has_form
        return msgspec.structs.replace(
            self.meter.stats(), sampling_changes=self._sampling_changes, has_form=has_form
        )

    def _close(self) -> tuple[str, FinishReason]:
        text = ""
        with self.catch_errors(f"the end of row {self.number} of request {self._job.request.id}"):
            text = self._text_stream.flush()
        self.meter.finished(self._job.now_s())
        assert self.reason is not None
        return text, self.reason


def _seen(token_id: int, distribution: Distribution | None) -> tuple[float | None, Distribution | None]:
    """The log-probability of a token in the distribution of another one, and that distribution as its own."""
    if distribution is None:
        return None, None
    for rank, each in enumerate(listed(distribution.alternatives)):
        if each.token_id == token_id:
            return each.logprob, msgspec.structs.replace(distribution, rank=rank)
    return None, msgspec.structs.replace(distribution, rank=None)
