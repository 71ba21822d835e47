"""What the sampler hands to a recording, against the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.engine.decoding.test_sampler import PARAMS, SMALL, array, history_of, random_logits
from tests.size import sized
from ttchat_tui.domain.recording import (
    ALTERNATIVES,
    Alternative,
    Distribution,
    RecordedToken,
    alternatives_of,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.sampler import Sampler, distribution

LOGITS = SMALL | random_logits()


def listed(found: Distribution) -> tuple[Alternative, ...]:
    return alternatives_of(RecordedToken(0, 0.0, alternatives=found.alternatives))


def usable(logits: list[float]) -> list[float]:
    return [-math.inf if math.isnan(each) else float(np.float32(each)) for each in logits]


def softmax(logits: list[float]) -> np.ndarray:
    """In double precision; NaN counts as impossible."""
    scores = np.array(usable(logits))
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


@settings(max_examples=sized(30, 2000), deadline=None)
@given(LOGITS, PARAMS, st.integers(0, 2**32), st.data())
def test_a_recorded_draw_is_the_same_draw(
    logits: list[float], params: SamplingParams, seed: int, data: st.DataObject
) -> None:
    assume(any(math.isfinite(each) for each in logits))
    prompt = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=8))
    plain = Sampler(len(logits), seed, prompt)
    recording = Sampler(len(logits), seed, prompt)
    for is_full in (True, False):
        drawn = plain.sample(array(logits), params)
        same, found = recording.sample_recorded(array(logits), params, with_alternatives=is_full)
        assert same.token_id == drawn.token_id
        assert same.logprob == pytest.approx(drawn.logprob, abs=1e-5)
        assert bool(found.alternatives) == is_full


@settings(max_examples=sized(30, 2000), deadline=None)
@given(LOGITS, PARAMS, st.data())
def test_the_alternatives_are_the_head_of_a_sort_with_their_fate(
    logits: list[float], params: SamplingParams, data: st.DataObject
) -> None:
    assume(any(math.isfinite(each) for each in logits))
    prompt = data.draw(st.lists(st.integers(0, len(logits) - 1), max_size=8))
    drawable, _ = distribution(array(logits), params, history_of(len(logits), prompt, []))
    (token_id, _), found = Sampler(len(logits), 1, prompt).sample_recorded(
        array(logits), params, with_alternatives=True
    )
    probabilities = softmax(logits)
    scores = usable(logits)
    ranked = sorted(range(len(scores)), key=lambda each: (-scores[each], each))
    head = [each for each in ranked[:ALTERNATIVES] if scores[each] > -math.inf]
    assert [each.token_id for each in listed(found)] == head
    assert found.rank == ranked.index(token_id)
    for each in listed(found):
        exact = math.log(max(probabilities[each.token_id], 1e-300))
        assert exact < -600 or each.logprob == pytest.approx(exact, abs=1 / 128 + 1e-4)
        assert (each.cut == "kept") == (each.token_id in drawable)
        assert each.cut == "kept" or rule_is_on(each.cut, params)


def rule_is_on(cut: str, params: SamplingParams) -> bool:
    match cut:
        case "top-k":
            return params.top_k > 0 and params.temperature > 0
        case "top-p":
            return params.top_p < 1 and params.temperature > 0
        case "min-p":
            return params.min_p > 0 and params.temperature > 0
        case _:
            return cut == "temperature"


@settings(max_examples=sized(30, 2000), deadline=None)
@given(LOGITS)
def test_the_entropy_is_that_of_the_models_own_distribution(logits: list[float]) -> None:
    assume(any(math.isfinite(each) for each in logits))
    _, found = Sampler(len(logits), 1).sample_recorded(
        array(logits), SamplingParams(temperature=0.3, top_k=3), with_alternatives=False
    )
    probabilities = softmax(logits)
    exact = -sum(each * math.log(each) for each in probabilities if each > 0)
    assert found.entropy == pytest.approx(exact, abs=2e-4)


FLAT = [math.log(each) for each in (0.4, 0.3, 0.2, 0.06, 0.04)]


@pytest.mark.parametrize(
    ("params", "cuts"),
    [
        (SamplingParams(temperature=0.0), ["kept", *["temperature"] * 4]),
        (SamplingParams(temperature=1.0, top_k=3, top_p=1.0), ["kept"] * 3 + ["top-k"] * 2),
        (SamplingParams(temperature=1.0, top_k=0, top_p=0.65), ["kept"] * 2 + ["top-p"] * 3),
        (SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.2), ["kept"] * 3 + ["min-p"] * 2),
        (
            SamplingParams(temperature=1.0, top_k=4, top_p=0.65),
            ["kept", "kept", "top-p", "top-p", "top-k"],
        ),
        (
            SamplingParams(temperature=1.0, top_k=4, top_p=0.9, min_p=0.6),
            ["kept", "kept", "min-p", "top-p", "top-k"],
        ),
    ],
)
def test_each_alternative_names_the_rule_that_cut_it(params: SamplingParams, cuts: list[str]) -> None:
    _, found = Sampler(5, 1).sample_recorded(array(FLAT), params, with_alternatives=True)
    assert [each.cut for each in listed(found)] == cuts


def test_a_penalty_changes_what_is_kept_but_not_the_models_own_order() -> None:
    params = SamplingParams(temperature=0.0, repetition_penalty=2.0)
    (token_id, _), found = Sampler(5, 1, [0]).sample_recorded(array(FLAT), params, with_alternatives=True)
    assert token_id == found.rank == 1
    assert [each.cut for each in listed(found)][:2] == ["temperature", "kept"]


def test_what_a_penalty_takes_out_of_top_k_is_still_an_alternative() -> None:
    logits = [-20.0 - place / 10 for place in range(100)]
    params = SamplingParams(temperature=1.0, top_k=40, top_p=1.0, repetition_penalty=2.0)
    _, found = Sampler(100, 1, range(10)).sample_recorded(array(logits), params, with_alternatives=True)
    assert [each.token_id for each in listed(found)] == list(range(20))
    assert [each.cut for each in listed(found)] == ["top-k"] * 10 + ["kept"] * 10
