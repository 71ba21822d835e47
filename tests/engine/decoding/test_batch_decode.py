"""Batches over a counting stepper: a row's text depends on all ids of that row and on nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.decoding.test_loop import BytesText
from tests.size import sized
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import (
    NOTHING_GIVEN,
    Candidate,
    GenerationControl,
    GenerationRequest,
    Given,
)
from ttchat_tui.domain.recording import SamplingChange
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineDied, OutOfMemory
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.loop import BatchStepper, run_batch, run_generation

END, VOCAB = 31, 32
HOT = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=20)
PROMPT = (3, 1, 4, 1, 5, 9, 2, 6)


def scores_after(ids: Sequence[int]) -> NDArray[np.float32]:
    """A language model: scores that depend on every id and its position, the end of turn rather likely."""
    mixed = hash((len(ids), *ids)) & 0xFFFF_FFFF
    scores = np.random.default_rng(mixed).normal(size=VOCAB).astype(np.float32)
    scores[END] += 1.0
    return scores


class RowStepper(BatchStepper):
    """Keeps the ids of each row; refuses what the protocol forbids."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.rows: dict[int, list[int]] | None = None
        """The live rows of the batch that runs; None outside of one."""
        self.batches: list[int] = []
        """Live rows of each step."""
        self.now_s = 10.0
        self.before_step: Callable[[int], None] = lambda step: None
        self.spoil: Callable[[int, NDArray[np.float32]], None] = lambda row, scores: None

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        assert self.rows is None
        self.ids = list(ids)
        self.now_s += 1.0
        return scores_after(self.ids)

    def step(self, token_id: int) -> NDArray[np.float32]:
        assert self.rows is None
        self.ids.append(token_id)
        self.now_s += 0.5
        return scores_after(self.ids)

    def fork(self, rows: int) -> None:
        assert self.rows is None
        self.rows = {row: list(self.ids) for row in range(rows)}

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        assert self.rows is not None
        self.batches.append(len(ids))
        self.before_step(len(self.batches))
        self.now_s += 0.5
        logits: list[NDArray[np.float32]] = []
        for (row, held), token_id in zip(self.rows.items(), ids, strict=True):
            held.append(token_id)
            logits.append(scores_after(held))
            self.spoil(row, logits[-1])
        return np.stack(logits)

    def freeze(self, row: int) -> None:
        assert self.rows is not None
        del self.rows[row]

    def join(self) -> None:
        assert self.rows is not None
        self.rows = None


@dataclass
class Batch:
    """One call of the loop; `events` runs it to its end."""

    seeds: Sequence[int] = (1, 2, 3, 4)
    own: Sequence[SamplingParams | None] = ()
    """Sampling of rows 1, 2 …; None and what is missing: the control's."""
    sampling: SamplingParams = HOT
    context_length: int = 1000
    stops: Sequence[str] = ()
    given: Given = NOTHING_GIVEN
    stepper: RowStepper = field(default_factory=RowStepper)

    def __post_init__(self) -> None:
        self.control = GenerationControl(self.sampling)

    def __iter__(self) -> Iterator[GenerationEvent]:
        first, *rest = self.seeds
        own = (*self.own, *[None] * len(rest))
        candidates = tuple(Candidate(seed=seed, sampling=own[n]) for n, seed in enumerate(rest))
        job = ReplyJob(
            request=GenerationRequest(
                id=7,
                messages=(),
                sampling=self.sampling,
                seed=first,
                candidates=candidates,
                given=self.given,
            ),
            control=self.control,
            prompt_ids=PROMPT,
            text_streams=[BytesText(self.stop(row)) for row in range(len(self.seeds))],
            stop_ids={END},
            context_length=self.context_length,
            clock=lambda: self.stepper.now_s,
            received_s=9.0,
        )
        return run_batch(job, self.stepper)

    def alone(self, row: int) -> list[GenerationEvent]:
        """The result of a row that is generated alone."""
        stepper = RowStepper()
        own = self.own[row - 1] if 0 < row <= len(self.own) else None
        sampling = own or self.sampling
        job = ReplyJob(
            request=GenerationRequest(id=7, messages=(), sampling=sampling, seed=self.seeds[row]),
            control=GenerationControl(sampling),
            prompt_ids=PROMPT,
            text_streams=[BytesText(self.stop(row))],
            stop_ids={END},
            context_length=self.context_length,
            clock=lambda: stepper.now_s,
            received_s=9.0,
        )
        return list(run_generation(job, stepper))

    def stop(self, row: int) -> str:
        return self.stops[row] if row < len(self.stops) else ""

    @property
    def events(self) -> list[GenerationEvent]:
        return list(self)


def finished(events: Sequence[GenerationEvent]) -> GenerationFinished:
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    assert [event for event in events if isinstance(event, GenerationFinished)] == [last]
    return last


def tokens(events: Sequence[GenerationEvent], row: int = 0) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent) and event.row == row]


def ids(events: Sequence[GenerationEvent], row: int = 0) -> list[int]:
    return [token_id for event in tokens(events, row) for token_id in event.token_ids]


def ends(events: Sequence[GenerationEvent]) -> dict[int, RowFinished]:
    found = [event for event in events if isinstance(event, RowFinished)]
    assert len({event.row for event in found}) == len(found)
    return {event.row: event for event in found}


SAMPLINGS = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.7, 1.5]),
    top_k=st.sampled_from([0, 5]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    max_tokens=st.integers(1, 12),
)


@settings(deadline=None, max_examples=sized(20, 600))
@given(
    seeds=st.lists(st.integers(0, 2**32), min_size=1, max_size=6),
    own=st.lists(st.none() | SAMPLINGS, max_size=5),
    context=st.integers(len(PROMPT) + 1, 40),
    stops=st.lists(st.sampled_from(["", "\x04", "\x07\x08"]), max_size=6),
)
def test_every_row_is_what_it_would_be_alone(
    seeds: list[int], own: list[SamplingParams | None], context: int, stops: list[str]
) -> None:
    batch = Batch(seeds, own[: len(seeds) - 1], context_length=context, stops=stops)
    events = batch.events
    rows = ends(events)
    assert sorted(rows) == list(range(len(seeds)))
    for row, end in rows.items():
        alone = batch.alone(row)
        assert ids(events, row) == ids(alone)
        assert [event.text for event in tokens(events, row)] == [event.text for event in tokens(alone)]
        assert [event.logprobs for event in tokens(events, row)] == [e.logprobs for e in tokens(alone)]
        assert (end.reason, end.text, end.stats) == (
            finished(alone).reason,
            finished(alone).text,
            finished(alone).stats,
        )
    assert batch.stepper.rows is None


def test_a_batch_of_one_has_the_events_of_a_single_reply_and_the_end_of_its_row() -> None:
    batch = Batch([5])
    *events, end, last = batch.events
    *alone, finish = batch.alone(0)
    assert events == alone
    assert isinstance(end, RowFinished)
    alone_stats = finished([finish]).stats
    assert last == msgspec.structs.replace(finish, stats=msgspec.structs.replace(alone_stats, timeline=None))
    assert (end.reason, end.stats) == (finished([finish]).reason, finished([finish]).stats)


def test_the_prompt_is_computed_once_and_rows_that_ended_cost_nothing() -> None:
    lengths = (8, 2, 4, 6)
    greedy = [SamplingParams(temperature=0.0, max_tokens=length) for length in lengths]
    batch = Batch(sampling=greedy[0], own=greedy[1:])
    batch.stepper.spoil = lambda row, scores: scores.__setitem__(END, -np.inf)
    events = batch.events
    assert [len(tokens(events, row)) for row in range(4)] == list(lengths)
    assert len([event for event in events if isinstance(event, GenerationStarted | PrefillProgress)]) == 2
    assert batch.stepper.batches == [4, 3, 3, 2, 2, 1, 1]


def test_a_row_is_finished_as_soon_as_it_ends() -> None:
    batch = Batch(own=[SamplingParams(max_tokens=1), None, None])
    events = batch.events
    end = next(event for event in events if isinstance(event, RowFinished))
    assert (end.row, end.reason) == (1, "length")
    assert events.index(end) == 2 + 2  # started, prefill, row 0's and row 1's first token


def test_the_figures_of_a_batch_are_those_of_all_rows_together() -> None:
    endless = SamplingParams(temperature=0.0, max_tokens=10)
    batch = Batch(sampling=endless, seeds=(1, 2))
    batch.stepper.spoil = lambda row, scores: scores.__setitem__(END, -np.inf)
    events = batch.events
    stats = finished(events).stats
    assert stats.completion_tokens == sum(len(tokens(events, row)) for row in (0, 1)) == 20
    assert stats.prompt_tokens == len(PROMPT)
    # 8 tokens of each row in 8 steps of half a second: two rows, twice the rate of one.
    assert (stats.decode_tps, ends(events)[0].stats.decode_tps) == (4.0, 2.0)
    assert (stats.ttft_s, stats.first_step_s, stats.total_s) == (2.0, 0.5, 6.5)


def test_live_sampling_applies_to_rows_without_parameters_of_their_own() -> None:
    batch = Batch(own=[SamplingParams(temperature=0.0, max_tokens=9), None, None])
    batch.stepper.spoil = lambda row, scores: scores.__setitem__(END, -np.inf)
    events: list[GenerationEvent] = []
    for event in batch:
        events.append(event)
        if len(tokens(events, 3)) == 2:
            batch.control.set_sampling(SamplingParams(temperature=0.0, max_tokens=5))
    counts = [len(tokens(events, row)) for row in range(4)]
    assert counts == [5, 9, 5, 5]


def test_a_recorded_change_also_applies_when_row_0_has_ended_before_it() -> None:
    change = SamplingChange(3, msgspec.structs.replace(HOT, max_tokens=5))
    batch = Batch(seeds=(1, 2), given=Given(changes=(change,)))
    batch.control.stop_rows(0)
    events = batch.events
    assert (len(ids(events, 0)), len(ids(events, 1))) == (1, 5)


def test_cancel_ends_all_running_rows_and_keeps_the_text_so_far() -> None:
    batch = Batch(own=[SamplingParams(max_tokens=1), None, None])
    batch.stepper.spoil = lambda row, scores: scores.__setitem__(END, -np.inf)
    events: list[GenerationEvent] = []
    for event in batch:
        events.append(event)
        if len(tokens(events)) == 3:
            batch.control.cancel()
    assert finished(events).reason == "cancelled"
    assert {row: end.reason for row, end in ends(events).items()} == {
        0: "cancelled",
        1: "length",
        2: "cancelled",
        3: "cancelled",
    }
    assert [len(tokens(events, row)) for row in range(4)] == [3, 1, 3, 3]
    assert batch.stepper.rows is None


def test_cancel_during_prefill_ends_every_row_without_a_fork() -> None:
    batch = Batch()
    events: list[GenerationEvent] = []
    for event in batch:
        events.append(event)
        batch.control.cancel()
    assert [end.reason for end in ends(events).values()] == ["cancelled"] * 4
    assert (finished(events).reason, batch.stepper.batches) == ("cancelled", [])


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(RuntimeError("no memory bank 3"), "internal"), (OutOfMemory("full"), "out_of_memory")],
)
def test_a_failing_stepper_ends_all_rows_with_its_error(failure: Exception, kind: str) -> None:
    batch = Batch()
    batch.stepper.spoil = lambda row, scores: scores.__setitem__(END, -np.inf)

    def fail(step: int) -> None:
        if step == 3:
            raise failure

    batch.stepper.before_step = fail
    events = batch.events
    for end in (*ends(events).values(), finished(events)):
        assert end.reason == "error"
        assert end.error is not None
        assert end.error.kind == kind
    assert len(ends(events)) == 4
    assert finished(events).stats.completion_tokens >= 4
    assert batch.stepper.rows is None


def test_a_row_without_a_usable_score_ends_alone() -> None:
    batch = Batch()

    def spoil(row: int, scores: NDArray[np.float32]) -> None:
        scores[END] = -np.inf
        if row == 2:
            scores[:] = np.nan

    batch.stepper.spoil = spoil
    events = batch.events
    assert {row: end.reason for row, end in ends(events).items()} == {
        0: "length",
        1: "length",
        2: "error",
        3: "length",
    }
    error = finished(events).error
    assert error is not None
    assert error.kind == "no_usable_logits"


def test_engine_death_is_raised_to_the_host_and_a_closed_stream_ends_the_batch() -> None:
    batch = Batch()

    def die(step: int) -> None:
        raise EngineDied("gone")

    batch.stepper.before_step = die
    with pytest.raises(EngineDied):
        _ = batch.events
    assert batch.stepper.rows is None
    left = Batch()
    stream = iter(left)
    while not isinstance(next(stream), TokenEvent):
        pass
    stream.close()  # type: ignore[attr-defined]
    assert left.stepper.rows is None


def test_a_prompt_that_leaves_no_room_is_refused_once_for_all_rows() -> None:
    (only,) = Batch(context_length=len(PROMPT)).events
    assert isinstance(only, GenerationFinished)
    assert only.error is not None
    assert only.error.kind == "prompt_too_long"
