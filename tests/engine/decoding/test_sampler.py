"""The fast sampler against a naive one: a full sort in double precision, token by token, as the definitions read."""

from __future__ import annotations

import math
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from tests.size import sized
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.rules import NoUsableLogits
from ttchat_tui.engine.decoding.sampler import History, Sampler, distribution

NAN, INF = math.nan, math.inf

TEMPERATURES = st.sampled_from((0.0, 0.05, 0.3, 0.7, 1.0, 1.3, 2.0)) | st.floats(0.01, 2.0)
SHARES = st.sampled_from((0.0, 0.1, 0.5, 0.9, 0.95, 0.999, 1.0)) | st.floats(0.0, 1.0)
PENALTIES = st.sampled_from((0.0, 0.0, 0.5, -1.0, 2.0))
PARAMS = st.builds(
    SamplingParams,
    temperature=TEMPERATURES,
    top_k=st.sampled_from((0, 0, 1, 2, 5, 40, 1000)),
    top_p=SHARES,
    min_p=st.just(0.0) | st.sampled_from((0.01, 0.1, 0.5, 1.0)),
    repetition_penalty=st.sampled_from((1.0, 1.0, 0.5, 1.1, 2.0)),
    presence_penalty=PENALTIES,
    frequency_penalty=PENALTIES,
)
TIED = st.integers(-12, 12).map(lambda n: n / 2)
# Without subnormal numbers: libraries switch them off for a whole process, some when they are imported.
SMALL = st.lists(
    TIED | st.sampled_from((-INF, NAN)) | st.floats(-30, 30, width=32, allow_subnormal=False),
    min_size=1,
    max_size=60,
)
EXTREME = st.sampled_from([sign * float(np.finfo(kind).max) for sign in (-1, 1) for kind in ("f2", "f4")])
SMALL_OR_EXTREME = TIED | EXTREME | st.sampled_from((3e38, -3e38, 1e20, -1e20))


@st.composite
def random_logits(draw: st.DrawFn) -> list[float]:
    """Vocabularies large enough for every shortcut: peaked and flat, with and without ties and masks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from((100, 2049, 5000)))
    logits = rng.normal(0.0, draw(st.sampled_from((0.3, 2.0, 8.0))), size)
    if draw(st.booleans()):
        logits = np.round(logits * 2) / 2
    if draw(st.booleans()):
        logits[rng.random(size) < 0.3] = -INF
    return logits.tolist()


def array(logits: list[float]) -> NDArray[np.float32]:
    """A read-only array: a change of the model's logits fails."""
    made = np.array(logits, dtype=np.float32)
    made.flags.writeable = False
    return made


def history_of(size: int, prompt: list[int], reply: list[int]) -> History:
    history = History(size, prompt)
    for token_id in reply:
        history.add(token_id)
    return history


def naive(
    logits: list[float], params: SamplingParams, prompt: list[int], reply: list[int]
) -> list[tuple[int, float]]:
    """The definition. Skips inputs whose result depends on the last bits of a float."""
    scores = [np.float32(-INF) if math.isnan(x) else np.float32(x) for x in logits]
    for i in {*prompt, *reply} if params.repetition_penalty != 1.0 else ():
        factor = np.float32(params.repetition_penalty)
        scores[i] = scores[i] * factor if scores[i] < 0 else scores[i] / factor
    for i, count in Counter(reply).items():
        scores[i] -= np.float32(params.presence_penalty + params.frequency_penalty * count)
    ranked = sorted((i for i in range(len(scores)) if scores[i] > -INF), key=lambda i: (-scores[i], i))
    if params.temperature == 0.0:
        return [(ranked[0], 1.0)]
    if params.top_k:
        ranked = ranked[: params.top_k]
    top = float(scores[ranked[0]])
    weights = [math.exp((float(scores[i]) - top) / params.temperature) for i in ranked]
    keep = len(ranked)
    if params.top_p < 1.0:
        shares = np.cumsum(weights) / math.fsum(weights)
        assume(not np.any(np.abs(shares - params.top_p) < 1e-5))
        keep = int(np.sum(shares < params.top_p)) + 1
        if keep < len(ranked):
            near = abs(weights[keep - 1] - weights[keep]) < 1e-5 * weights[keep - 1]
            assume(not near or scores[ranked[keep - 1]] == scores[ranked[keep]])
    kept = [(i, w) for i, w in zip(ranked[:keep], weights[:keep], strict=True) if w >= params.min_p]
    assume(all(abs(w - params.min_p) > 1e-5 * w or w == params.min_p == 1.0 for w in weights))
    total = math.fsum(w for _, w in kept)
    return [(i, w / total) for i, w in kept]


def assert_equals_naive(
    logits: list[float], params: SamplingParams, prompt: list[int], reply: list[int]
) -> None:
    expected = naive(logits, params, prompt, reply)
    ids, probabilities = distribution(array(logits), params, history_of(len(logits), prompt, reply))
    assert math.isclose(probabilities.sum(), 1.0, rel_tol=1e-12)
    assert np.all(np.diff(probabilities) <= 0)
    by_id = dict(zip(ids.tolist(), probabilities.tolist(), strict=True))
    # A weight below the smallest normal float32 (2**-126) is dropped: nobody will ever draw it.
    assert by_id.keys() == {i for i, p in expected if p / expected[0][1] >= 2.0**-126}
    for i, probability in expected:
        assert math.isclose(by_id.get(i, 0.0), probability, rel_tol=5e-5, abs_tol=1e-37), i


@settings(max_examples=sized(133, 4000), deadline=None)
@given(SMALL, PARAMS, st.data())
def test_the_distribution_is_the_naive_one_with_ties_and_masked_tokens(
    logits: list[float], params: SamplingParams, data: st.DataObject
) -> None:
    assume(any(math.isfinite(x) for x in logits))
    ids = st.lists(st.integers(0, len(logits) - 1), max_size=8)
    assert_equals_naive(logits, params, data.draw(ids), data.draw(ids))


@settings(max_examples=sized(50, 1500), deadline=None)
@given(random_logits(), PARAMS, st.data())
def test_the_distribution_is_the_naive_one_over_vocabularies_that_take_the_shortcuts(
    logits: list[float], params: SamplingParams, data: st.DataObject
) -> None:
    ids = st.lists(st.integers(0, len(logits) - 1), max_size=20)
    assert_equals_naive(logits, params, data.draw(ids), data.draw(ids))


@pytest.mark.parametrize("temperature", [1e-3, 1e-9, 1e-40, 5e-324])
def test_temperature_towards_zero_becomes_greedy_and_shares_between_equals(temperature: float) -> None:
    params = SamplingParams(temperature=temperature, top_k=0, top_p=1.0)
    ids, probabilities = distribution(array([1.0, 3.0, -INF, 2.9, 3.0]), params, History(5))
    assert ids.tolist() == [1, 4]
    assert probabilities.tolist() == [0.5, 0.5]


def test_greedy_takes_the_lowest_id_among_equals() -> None:
    params = SamplingParams(temperature=0.0)
    assert Sampler(4, seed=1).sample(array([0.0, 7.0, 7.0, 7.0]), params).token_id == 1


def test_top_k_keeps_the_lowest_ids_among_equals() -> None:
    params = SamplingParams(temperature=1.0, top_k=3, top_p=1.0)
    ids, _ = distribution(array([1.0] * 9000), params, History(9000))
    assert ids.tolist() == [0, 1, 2]


def test_top_k_above_the_vocabulary_keeps_all() -> None:
    params = SamplingParams(temperature=1.0, top_k=1000, top_p=1.0)
    ids, _ = distribution(array([0.0, 1.0, 2.0]), params, History(3))
    assert ids.tolist() == [2, 1, 0]


def test_top_p_keeps_the_lowest_ids_among_equals() -> None:
    logits = [0.0 if i % 3 else -0.005 for i in range(3000)]
    params = SamplingParams(temperature=1.0, top_k=0, top_p=0.81)
    ids, _ = distribution(array(logits), params, History(3000))
    higher = [i for i in range(3000) if i % 3]
    lower = [i for i in range(3000) if i % 3 == 0]
    assert ids.tolist() == higher + lower[: len(ids) - 2000]
    assert len(ids) == 2000 + 429  # 0.81 * (2000 + 1000 * exp(-0.005)) = 2000 + 428.1 * exp(-0.005)


def test_top_p_zero_keeps_one() -> None:
    params = SamplingParams(temperature=1.0, top_k=0, top_p=0.0)
    ids, probabilities = distribution(array([5.0, 5.0, 1.0]), params, History(3))
    assert (ids.tolist(), probabilities.tolist()) == ([0], [1.0])


@pytest.mark.parametrize("logits", [[-INF, -INF], [NAN, NAN], [NAN, -INF]])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_all_masked_are_an_error(logits: list[float], temperature: float) -> None:
    with pytest.raises(NoUsableLogits, match="no usable scores"):
        Sampler(2, seed=1).sample(array(logits), SamplingParams(temperature=temperature))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_nan_is_never_drawn_and_an_infinite_logit_always(temperature: float) -> None:
    params = SamplingParams(temperature=temperature)
    sampler = Sampler(4, seed=3)
    drawn = {sampler.sample(array([50.0, NAN, INF, -INF]), params).token_id for _ in range(50)}
    assert drawn == {2}


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0, top_k=0, top_p=1.0),
        SamplingParams(temperature=0.7, top_k=20, top_p=0.9),
        SamplingParams(temperature=1.5, top_k=0, top_p=0.95, min_p=0.02),
    ],
)
def test_tokens_are_drawn_with_their_probability(params: SamplingParams) -> None:
    draws = sized(4_000, 12_000)
    logits = array(np.random.default_rng(7).normal(0.0, 1.5, 600).tolist())
    ids, probabilities = distribution(logits, params, History(600))
    sampler = Sampler(600, seed=11)
    counts = Counter(sampler.sample(logits, params).token_id for _ in range(draws))
    assert counts.keys() <= set(ids.tolist())
    # Chi-square wants some 5 expected draws a cell: the rare tokens share one.
    cells: list[tuple[float, float]] = [(0.0, 0.0)]
    for token_id, probability in zip(ids.tolist(), probabilities.tolist(), strict=True):
        if draws * probability >= 8.0:
            cells.append((counts[token_id], draws * probability))
        else:
            cells[0] = (cells[0][0] + counts[token_id], cells[0][1] + draws * probability)
    cells = [cell for cell in cells if cell[1] > 0.0]
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    freedom = len(cells) - 1
    # The 99.9 % point by Wilson and Hilferty's cube-root approximation.
    limit = freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit


def reply_of(seed: int, params: list[SamplingParams]) -> list[int]:
    rng = np.random.default_rng(5)
    sampler = Sampler(500, seed, prompt_ids=[1, 2, 3])
    return [sampler.sample(array(rng.normal(0, 1, 500).tolist()), p).token_id for p in params]


def test_the_same_seed_gives_the_same_reply_and_another_seed_another() -> None:
    params = [SamplingParams(repetition_penalty=1.2, frequency_penalty=0.5)] * 30
    assert reply_of(42, params) == reply_of(42, params)
    assert reply_of(42, params) != reply_of(43, params)


def test_a_parameter_changed_and_changed_back_does_not_shift_the_draws_after_it() -> None:
    warm, cold = SamplingParams(temperature=1.0), SamplingParams(temperature=0.0)
    plain = reply_of(42, [warm] * 30)
    changed = reply_of(42, [*[warm] * 5, *[cold] * 3, *[warm] * 22])
    assert changed[:5] == plain[:5]
    assert changed[8:] == plain[8:]


def test_the_draws_of_a_seed_are_pinned_since_stored_replies_are_replayed_with_them() -> None:
    params = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)
    sampler = Sampler(1000, seed=2024)
    assert [sampler.sample(array([0.0] * 1000), params).token_id for _ in range(6)] == [
        270,
        618,
        38,
        690,
        647,
        417,
    ]


@given(st.lists(st.floats(-30, 30, width=32, allow_subnormal=False), min_size=2, max_size=50))
def test_the_logprob_is_the_models_own_before_penalties_temperature_and_cuts(logits: list[float]) -> None:
    sampler = Sampler(len(logits), seed=1, prompt_ids=[0])
    params = SamplingParams(temperature=1.7, top_k=2, repetition_penalty=1.5, presence_penalty=1.0)
    token_id, logprob = sampler.sample(array(logits), params)
    exact = np.array(logits, dtype=np.float64)
    exact -= exact.max()
    assert math.isclose(logprob, exact[token_id] - math.log(np.exp(exact).sum()), rel_tol=1e-5, abs_tol=1e-5)


@settings(max_examples=sized(200, 3000), deadline=None)
@given(
    st.lists(SMALL_OR_EXTREME, max_size=9).map(lambda logits: [*logits, 0.5]),
    PARAMS,
    st.sampled_from((None, 0.0, 1e-45, 1e-30, 1e-19, 0.7, 1.0)),
)
@example([1.0, 2.0, float(np.finfo(np.float32).min)], SamplingParams(temperature=0.7, top_k=0), None)
def test_scores_at_the_ends_of_float32_are_drawn_without_a_warning(
    logits: list[float], params: SamplingParams, temperature: float | None
) -> None:
    """Models mask tokens with the lowest number that there is."""
    params = params if temperature is None else replace(params, temperature=temperature)
    sampler = Sampler(len(logits), seed=5, prompt_ids=[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampled, recorded = sampler.sample_recorded(array(logits), params, with_alternatives=True)
        again = Sampler(len(logits), seed=5, prompt_ids=[0]).sample(array(logits), params)
    assert sampled == again
    assert recorded.entropy is not None
    assert math.isfinite(recorded.entropy)


def test_the_history_counts_the_reply_and_remembers_the_prompt() -> None:
    history = history_of(10, prompt=[3, 3, 9, 12, -1], reply=[4, 3, 4])
    assert history.seen_ids.tolist() == [3, 9, 4]
    assert dict(zip(history.reply_ids.tolist(), history.reply_counts.tolist(), strict=True)) == {4: 2, 3: 1}
