"""Speculation by lookup changes how many forwards a reply takes, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import Forced, GenerationControl, GenerationRequest
from ttchat_tui.domain.logit_bias import BAN
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.lookup import LookupStepper
from ttchat_tui.engine.decoding.lookup_context import LookupContext
from ttchat_tui.engine.decoding.lookup_policy import DRAFTS, DraftPolicy
from ttchat_tui.engine.decoding.loop import PrefillAborted, Stepper, run_generation
from ttchat_tui.engine.decoding.token_bias import TokenBias
from ttchat_tui.engine.text.text_stream import TextStream, Utf8Decoder

VOCAB: Final = 50
GREEDY: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=60)
WARM: Final = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=60)


class ClockedStepper(Stepper):
    """A stepper whose logits are a function of all ids in its cache, and whose forwards take time on its own clock."""

    def __init__(
        self, next_logits: Callable[[Sequence[int]], NDArray[np.float32]], row_cost: float = 0.15
    ) -> None:
        self._next_logits = next_logits
        self._row_cost = row_cost
        self.held: list[int] = []
        self.rows: list[int] = []
        """Rows of each decode forward."""
        self.long_from = 1000
        self.now_s = 0.0

    def clock(self) -> float:
        return self.now_s

    def becomes_long(self, length: int) -> bool:
        return length >= self.long_from

    def cached_prefix(self, ids: Sequence[int]) -> int:
        limit = min(len(self.held), len(ids) - 1)
        return next((n for n in range(limit) if self.held[n] != ids[n]), limit)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self.held = list(ids)
        if not report(len(ids), len(ids)):
            raise PrefillAborted
        return self._next_logits(self.held)

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self.step_many([token_id])[0]

    def step_many(self, ids: Sequence[int]) -> NDArray[np.float32]:
        end = len(self.held) + len(ids)
        assert self.becomes_long(end) == self.becomes_long(len(self.held)), "the decode loop reads it anew"
        self.rows.append(len(ids))
        self.now_s += 1.0 + self._row_cost * (len(ids) - 1)
        start = len(self.held)
        self.held += ids
        return np.stack([self._next_logits(self.held[: start + n + 1]) for n in range(len(ids))])

    def crop(self, length: int) -> None:
        assert length <= len(self.held)
        del self.held[length:]


def habitual(ids: Sequence[int]) -> NDArray[np.float32]:
    """Mostly repeats what followed the last two ids before, so that guesses are often right and often wrong; every id
    of the context has a part in the logits."""
    noise = random.Random(hash(tuple(ids)))
    logits = np.array([noise.gauss(0.0, 1.0) for _ in range(VOCAB)], dtype=np.float32)
    for end in range(len(ids) - 1, 1, -1):
        if tuple(ids[end - 2 : end]) == tuple(ids[-2:]):
            logits[ids[end]] += 4.0
            break
    return logits


def reciting(text: Sequence[int]) -> Callable[[Sequence[int]], NDArray[np.float32]]:
    """Recites `text` by position alone."""

    def next_logits(ids: Sequence[int]) -> NDArray[np.float32]:
        logits = np.zeros(max(text) + 1, dtype=np.float32)
        logits[text[len(ids) % len(text)]] = 50.0
        return logits

    return next_logits


def plain_text() -> TextStream:
    """Decodes every id to one character."""
    return TextStream(Utf8Decoder(lambda token_id: bytes([33 + token_id % 90])))


def by_number(bias: Mapping[str, float]) -> tuple[TokenBias, tuple[str, ...]]:
    """Bans tokens by their ids as text."""
    banned = np.array(sorted(map(int, bias)), dtype=np.intp)
    return TokenBias(banned, np.full(len(banned), -np.inf, dtype=np.float32)), ()


def generate(
    stepper: ClockedStepper | LookupStepper,
    prompt: Sequence[int],
    sampling: SamplingParams = GREEDY,
    *,
    seed: int = 1,
    context_length: int = 1000,
    after: Callable[[int, GenerationControl], None] = lambda _tokens, _control: None,
    clock: Callable[[], float] = lambda: 0.0,
) -> list[GenerationEvent]:
    """All events of a reply; `after(n, control)` is called after its n-th token."""
    control = GenerationControl(sampling)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", ""),), sampling=sampling, seed=seed)
    events: list[GenerationEvent] = []
    job = ReplyJob(
        request=request, control=control, prompt_ids=prompt, text_streams=[plain_text()], stop_ids=(0,),
        context_length=context_length, clock=clock, received_s=0.0, find_bias=by_number,
    )  # fmt: skip
    for event in run_generation(job, stepper):
        events.append(event)
        if isinstance(event, TokenEvent):
            after(sum(isinstance(e, TokenEvent) for e in events), control)
    return events


def ids_of(events: Sequence[GenerationEvent]) -> list[int]:
    return [i for event in events if isinstance(event, TokenEvent) for i in event.token_ids]


def without_forwards(events: Sequence[GenerationEvent]) -> list[GenerationEvent]:
    """The events without their figures about forwards."""
    return [_without_forwards(event) for event in events]


def _without_forwards(event: GenerationEvent) -> GenerationEvent:
    if isinstance(event, TokenEvent):
        return msgspec.structs.replace(event, drafted=())
    if not isinstance(event, GenerationFinished):
        return event
    stats = msgspec.structs.replace(
        event.stats,
        decode_forwards=None,
        decode_tps=None,
        first_step_s=None,
        itl_p50_s=None,
        itl_p95_s=None,
        itl_p99_s=None,
        timeline=None,
    )
    return msgspec.structs.replace(event, stats=stats)


def speculating(model: ClockedStepper, context_length: int = 1000) -> LookupStepper:
    return LookupStepper(model, model, context_length, clock=model.clock)


PROMPTS = st.lists(st.integers(0, 5), min_size=1, max_size=40)


@settings(max_examples=sized(40, 1200), deadline=None)
@given(prompt=PROMPTS, seed=st.integers(0, 99), temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]))
def test_a_speculated_reply_has_the_same_events(prompt: list[int], seed: int, temperature: float) -> None:
    sampling = SamplingParams(
        temperature=temperature, top_k=0, top_p=1.0, max_tokens=50, repetition_penalty=1.1
    )
    plain = generate(ClockedStepper(habitual), prompt, sampling, seed=seed)
    drafted = generate(speculating(ClockedStepper(habitual)), prompt, sampling, seed=seed)
    assert without_forwards(drafted) == without_forwards(plain)


@pytest.mark.parametrize("long_from", range(21, 45))
def test_no_draft_crosses_the_length_from_which_a_conversation_is_long(long_from: int) -> None:
    """So that the decode loop sees the step at which it becomes long, and can be cancelled in it."""
    model = ClockedStepper(reciting(range(1, 9)))
    model.long_from = long_from
    events = generate(speculating(model), [*range(1, 9)] * 2)
    assert ids_of(events) == ids_of(generate(ClockedStepper(reciting(range(1, 9))), [*range(1, 9)] * 2))
    assert max(model.rows) > 1


@settings(max_examples=sized(15, 600), deadline=None)
@given(
    prompt=PROMPTS,
    banned=st.integers(1, 5),
    forced=st.dictionaries(
        st.integers(0, 20), st.lists(st.integers(1, 5), min_size=1, max_size=3), max_size=3
    ),
)
def test_bans_and_chosen_tokens_are_the_same_with_speculation(
    prompt: list[int], banned: int, forced: dict[int, list[int]]
) -> None:
    sampling = SamplingParams(temperature=0.7, max_tokens=30, logit_bias={str(banned): BAN})

    def choose(tokens: int, control: GenerationControl) -> None:
        control.force(*map(Forced, forced.get(tokens, ())))

    plain = generate(ClockedStepper(habitual), prompt, sampling, after=choose)
    drafted = generate(speculating(ClockedStepper(habitual)), prompt, sampling, after=choose)
    assert without_forwards(drafted) == without_forwards(plain)
    drawn = [event.token_ids[0] for event in plain if isinstance(event, TokenEvent) and not any(event.forced)]
    assert banned not in drawn


@settings(max_examples=sized(20, 600), deadline=None)
@given(prompts=st.lists(PROMPTS, min_size=1, max_size=4), seed=st.integers(0, 9))
def test_the_cache_holds_the_reply_followed_by_guesses(prompts: list[list[int]], seed: int) -> None:
    """Several replies on one stepper, with or without a common prefix."""
    model = ClockedStepper(habitual)
    stepper = speculating(model)
    for prompt in prompts:
        said = ids_of(generate(stepper, prompt, WARM, seed=seed))
        fed = [*prompt, *said[:-1]]
        assert model.held[: len(fed)] == fed


def test_text_that_repeats_the_prompt_takes_far_fewer_forwards() -> None:
    text = random.Random(3).sample(range(1, 400), 120)
    model = ClockedStepper(reciting(text))
    stepper = speculating(model)
    assert ids_of(generate(stepper, text, GREEDY)) == text[:60]
    assert stepper.forwards == len(model.rows) < 20
    assert model.now_s < 59 / 1.8


def test_an_endless_line_is_drafted_beyond_its_own_end() -> None:
    model = ClockedStepper(reciting([7, 8]))
    assert len(ids_of(generate(speculating(model), [7, 8, 7, 8], GREEDY))) == 60
    assert max(model.rows) == 1 + DRAFTS[-1]


@pytest.mark.parametrize("row_cost", [0.15, 0.6])
def test_text_without_repetition_loses_less_than_three_percent(row_cost: float) -> None:
    """Words by Zipf's law: pairs repeat by chance, but rarely what follows them."""
    weights = [1 / (rank + 1) for rank in range(200)]
    text = random.Random(5).choices(range(1, 201), weights, k=1600)
    model = ClockedStepper(reciting(text), row_cost)
    sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=1200)
    assert ids_of(generate(speculating(model, 5000), text[:400], sampling, context_length=5000)) == text[400:]
    assert model.now_s < 1.03 * 1199


def test_nothing_is_drafted_when_rows_cost_as_much_as_steps() -> None:
    text = random.Random(3).sample(range(1, 400), 300)
    model = ClockedStepper(reciting(text), row_cost=1.0)
    sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=200)
    generate(speculating(model), text, sampling)
    assert sum(model.rows) - len(model.rows) < 40  # Each size was tried once, and no more.


def test_changed_sampling_applies_from_the_next_token_on() -> None:
    def heat(tokens: int, control: GenerationControl) -> None:
        if tokens == 20:
            control.set_sampling(WARM)

    text = [n % 11 + 1 for n in range(60)]
    plain, stepper = (
        generate(ClockedStepper(habitual), text, after=heat),
        speculating(ClockedStepper(habitual)),
    )
    assert without_forwards(generate(stepper, text, after=heat)) == without_forwards(plain)
    assert stepper.forwards < len(ids_of(plain)) - 1  # At least one draft was thrown away.
    assert plain != generate(ClockedStepper(habitual), text)


def test_a_cancelled_reply_ends_after_the_token_that_was_sampled() -> None:
    def stop(tokens: int, control: GenerationControl) -> None:
        if tokens == 9:
            control.cancel()

    text = [n % 11 + 1 for n in range(60)]
    events = generate(speculating(ClockedStepper(reciting(text))), text, after=stop)
    assert len(ids_of(events)) == 9
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason == "cancelled"


def test_no_draft_goes_beyond_the_context() -> None:
    model = ClockedStepper(reciting([7, 8]))
    highest: list[int] = []
    stepper = speculating(model, context_length=60)
    events = generate(
        stepper, [7, 8, 7, 8], context_length=60, after=lambda *_: highest.append(len(model.held))
    )
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason == "context"
    assert max(highest) <= 60
    assert max(model.rows) > 8


def test_a_token_has_the_time_at_which_it_was_sampled() -> None:
    text = random.Random(3).sample(range(1, 400), 120)
    model = ClockedStepper(reciting(text))
    events = generate(speculating(model), text, clock=model.clock)
    times = [time_s for event in events if isinstance(event, TokenEvent) for time_s in event.times_s]
    assert times[-1] == model.now_s  # The last token came with the last forward, not before.
    assert len(set(times)) == 1 + len(model.rows)


def test_an_aborted_prompt_leaves_nothing_behind() -> None:
    stepper = speculating(ClockedStepper(habitual))
    generate(stepper, [1, 2, 3, 1, 2], GREEDY)
    with pytest.raises(PrefillAborted):
        stepper.prefill([4, 5, 6], lambda _done, _total: False)
    assert ids_of(generate(stepper, [4, 5, 6])) == ids_of(generate(ClockedStepper(habitual), [4, 5, 6]))


def test_a_forward_has_no_more_rows_than_are_allowed() -> None:
    model = ClockedStepper(reciting([7, 8]))
    stepper = LookupStepper(model, model, 1000, 8, clock=model.clock)
    generate(stepper, [7, 8, 7, 8])
    assert max(model.rows) == 8


class TestContext:
    def test_the_guess_is_what_followed_the_latest_occurrence(self) -> None:
        context = LookupContext()
        context.set_ids([1, 2, 3, 9, 1, 2, 3, 8, 5, 1, 2, 3])
        assert (context.guess(2), context.match) == ([8, 5], 3)

    def test_a_pair_is_enough_where_no_three_ids_occurred_before(self) -> None:
        context = LookupContext()
        context.set_ids([1, 2, 7, 4, 1, 2])
        assert (context.guess(1), context.match) == ([7], 2)

    def test_one_id_is_enough_for_a_weak_guess(self) -> None:
        context = LookupContext()
        context.set_ids([1, 2, 1])
        assert (context.guess(4), context.match) == ([2, 1, 2, 1], 1)
        context.push(3)
        assert (context.guess(4), context.match) == ([], 0)

    def test_the_longest_match_is_followed_and_not_the_latest(self) -> None:
        context = LookupContext()
        context.set_ids([1, 2, 3, 7, 4, 3, 8, 5, 1, 2, 3])
        assert (context.guess(1), context.match) == ([7], 3)

    @pytest.mark.parametrize("edit", [[50], [], [50, 51], [3, 50, 51]])
    def test_an_edited_copy_is_followed_past_its_edit(self, edit: list[int]) -> None:
        """Instead of 3 the copy has other ids; 9 stands here and, later, before another id."""
        context = LookupContext()
        context.set_ids([1, 2, 3, 9, 4, *range(20, 40), 7, 9, 8, 0])
        for token_id in (1, 2, *edit, 9):
            context.push(token_id)
        assert (context.guess(1), context.match) == ([4], 1)

    def test_an_occurrence_is_followed_while_it_is_right(self) -> None:
        context = LookupContext()
        context.set_ids([1, 2, 3, 4, 5, 6, 0, 1, 2])
        for n, token_id in enumerate((3, 4, 5)):
            context.push(token_id)
            assert (context.guess(1), context.match) == ([token_id + 1], n + 3)
        context.push(9)
        assert context.match == 0

    @settings(max_examples=sized(66, 2000), deadline=None)
    @given(first=PROMPTS, second=PROMPTS)
    def test_extending_held_ids_gives_the_same_as_starting_over(
        self, first: list[int], second: list[int]
    ) -> None:
        grown, fresh = LookupContext(), LookupContext()
        grown.set_ids(first)
        grown.set_ids(second)
        fresh.set_ids(second)
        assert (grown.guess(9), grown.match, len(grown)) == (fresh.guess(9), fresh.match, len(fresh))

    @settings(max_examples=sized(66, 2000), deadline=None)
    @given(ids=st.lists(st.integers(0, 3), min_size=2, max_size=32))
    def test_a_guess_follows_the_longest_ids_that_match_the_last_ones(self, ids: list[int]) -> None:
        context = LookupContext()
        context.set_ids(ids)
        assert bool(context.match) == (ids[-1] in ids[:-1])

        def followers(length: int) -> list[int]:
            return [ids[n + length] for n in range(len(ids) - length) if ids[n : n + length] == ids[-length:]]

        if context.match:
            assert context.guess(1)[0] in followers(context.match)
            assert context.match == 8 or not followers(context.match + 1)


class TestPolicy:
    def test_drafts_grow_with_the_match_and_shrink_with_misses(self) -> None:
        policy = DraftPolicy()
        policy.record_forward(1, 1.0)
        assert policy.draft_length(0) == 0
        assert policy.draft_length(2) < policy.draft_length(8)
        for _ in range(60):
            policy.record_guess(8, False)
        assert policy.draft_length(8) == 0
        for _ in range(60):
            policy.record_guess(8, True)
        assert policy.draft_length(8) == DRAFTS[-1]

    def test_nothing_is_drafted_before_a_forward_of_one_row_is_measured(self) -> None:
        policy = DraftPolicy()
        assert policy.draft_length(8) == 0
        policy.record_forward(1, 1.0)
        assert policy.draft_length(8) > 0

    @pytest.mark.parametrize("measured", [2, 4, 8, 16])
    def test_one_slow_size_is_evidence_about_all(self, measured: int) -> None:
        policy = DraftPolicy()
        for _ in range(60):
            policy.record_guess(8, True)
        policy.record_forward(1, 1.0)
        policy.record_forward(measured, 1.2 * measured)
        assert policy.draft_length(8) == 0

    def test_a_draft_that_promises_next_to_nothing_is_left_out(self) -> None:
        policy = DraftPolicy()
        for _ in range(60):
            policy.record_guess(8, True)
        policy.record_forward(1, 1.0)
        policy.record_forward(16, 15.3)
        assert policy.draft_length(8) == 0
        policy.record_forward(16, 13.0)
        assert policy.draft_length(8) > 0

    def test_a_slow_forward_is_forgiven_after_a_while(self) -> None:
        policy = DraftPolicy()
        for _ in range(60):
            policy.record_guess(8, True)
        policy.record_forward(1, 1.0)
        for length in DRAFTS:
            policy.record_forward(1 + length, 100.0)
        assert policy.draft_length(8) == 0
        for _ in range(256):
            policy.record_forward(1, 1.0)
        assert policy.draft_length(8) == DRAFTS[-1]
