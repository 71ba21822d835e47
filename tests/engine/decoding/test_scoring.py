"""A text that is followed: every token once, after the tokens before it, also where it is longer than the context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.decoding.test_lookup import VOCAB, ClockedStepper, plain_text
from tests.size import sized
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.lookup import LookupStepper
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.scoring import run_scoring, windows
from ttchat_tui.session.recorder import Recorder

PLAIN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)
IDS = [number * 7 % VOCAB for number in range(23)]


def logits_after(ids: Sequence[int]) -> NDArray[np.float32]:
    """They depend on the last four ids."""
    return np.random.default_rng(list(ids[-4:])).normal(0, 3, VOCAB).astype(np.float32)


def logprob_of(token_id: int, before: Sequence[int]) -> float:
    logits = logits_after(before).astype(np.float64)
    return float(logits[token_id] - np.log(np.exp(logits).sum()))


def scored(
    stepper: Stepper, context: int, beginning: Sequence[int] = (), control: GenerationControl | None = None
) -> list[GenerationEvent]:
    request = GenerationRequest(id=1, messages=(), sampling=PLAIN, seed=1, record="full")
    job = ReplyJob(
        request=request, control=control or GenerationControl(PLAIN), prompt_ids=beginning, text_streams=[plain_text()],
        stop_ids=(0,), context_length=context, clock=lambda: 0.0, received_s=0.0, followed=IDS,
    )  # fmt: skip
    return list(run_scoring(job, stepper))


def recording_of(events: list[GenerationEvent]) -> Recording:
    recorder = Recorder()
    for event in events:
        if isinstance(event, TokenEvent):
            recorder.add(event)
    return recorder.recording


@settings(max_examples=sized(20, 2000), deadline=None)
@given(st.integers(1, 200), st.integers(2, 60), st.booleans())
def test_windows_follow_every_token_once_with_half_a_window_before_it(
    tokens: int, room: int, has_beginning: bool
) -> None:
    found = list(windows(tokens, room, has_beginning=has_beginning))
    followed = [place for window in found for place in range(window.first, window.end)]
    assert followed == list(range(0 if has_beginning else 1, tokens))
    for number, window in enumerate(found):
        assert window.end - window.start <= room
        if number:
            assert window.first - window.start >= room // 2 > 0


@pytest.mark.parametrize("beginning", [(), (3,)])
@pytest.mark.parametrize("context", [100, 10])
def test_each_token_has_the_probability_after_those_before_it(
    beginning: tuple[int, ...], context: int
) -> None:
    events = scored(ClockedStepper(logits_after), context, beginning)
    tokens = recording_of(events).tokens
    assert [token.token_id for token in tokens] == IDS, "also id 0, which would end a reply"
    if not beginning:
        assert (tokens[0].logprob, tokens[0].rank) == (None, None), "nothing precedes it"
    whole = [*beginning, *IDS]
    for place in range(len(whole) - len(tokens) or 1, len(whole)):
        token = tokens[place - len(beginning)]
        assert token.logprob == pytest.approx(logprob_of(token.token_id, whole[:place]), abs=1e-4)
    first, last = events[0], events[-1]
    assert isinstance(first, GenerationStarted)
    assert isinstance(last, GenerationFinished)
    assert (first.prompt_tokens, last.reason, last.stats.completion_tokens) == (23, "length", 23)
    kinds = [type(event) for event in events]
    assert (kinds.count(GenerationStarted), kinds.count(GenerationFinished)) == (1, 1)


def test_known_tokens_are_computed_together_where_that_gives_the_same() -> None:
    alone, together = ClockedStepper(logits_after), ClockedStepper(logits_after)
    lookup = LookupStepper(together, together, 100, 8, clock=together.clock)
    plain, drafted = recording_of(scored(alone, 100)), recording_of(scored(lookup, 100))
    assert [token.logprob for token in drafted.tokens] == [token.logprob for token in plain.tokens]
    assert alone.rows == [1] * 21
    assert together.rows == [8, 8, 5], "21 steps"


def test_a_score_that_is_cancelled_ends_in_its_window() -> None:
    control = GenerationControl(PLAIN)
    control.cancel()
    last = scored(ClockedStepper(logits_after), 10, control=control)[-1]
    assert isinstance(last, GenerationFinished)
    assert last.reason == "cancelled"
