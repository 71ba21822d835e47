"""The preview of a step against the sampler itself, over the bytes that cross between the processes."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.engine.decoding.test_sampler import PARAMS, SMALL, array, history_of, random_logits
from tests.size import sized
from ttchat_tui.domain.events import StepScores
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.recording import Alternative, Cut
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.rules import applied, usable
from ttchat_tui.engine.decoding.sampler import History, Sampler, SeenTokens
from ttchat_tui.engine.decoding.step_feed import SampledStep, StepFeed
from ttchat_tui.engine.decoding.step_preview import StepPreview
from ttchat_tui.engine.decoding.token_bias import TokenBias

JOB = ReplyJob(
    request=GenerationRequest(id=1, messages=(), sampling=SamplingParams(), seed=1),
    control=GenerationControl(SamplingParams()),
    prompt_ids=(),
    text_streams=(),
    stop_ids=(),
    context_length=0,
    clock=lambda: 0.0,
    received_s=0.0,
)
JOB.control.set_previewed(True)
FOUR = [math.log(each) for each in (0.4, 0.3, 0.2, 0.1)]
PLAIN = SamplingParams(temperature=1.0, top_k=0, top_p=1.0)


def scores_of(
    logits: np.ndarray, seen: SeenTokens, bias: TokenBias, allowed: np.ndarray | None
) -> StepScores:
    """The bytes that cross, made as the decode loop makes them."""
    history = History(len(logits))
    history.before = lambda _last_id: seen  # type: ignore[method-assign]
    feed = StepFeed(JOB)
    feed.take(SampledStep(0, 0, logits, history, bias, allowed))
    shown = feed.next(is_last=True)
    assert shown is not None
    return msgspec.msgpack.decode(msgspec.msgpack.encode(shown), type=StepScores)


@settings(max_examples=sized(40, 2000), deadline=None)
@given(SMALL | random_logits(), PARAMS, st.integers(0, 2**32), st.data())
def test_the_preview_keeps_what_the_sampler_keeps_with_the_same_shares(
    logits: list[float], params: SamplingParams, seed: int, data: st.DataObject
) -> None:
    assume(any(math.isfinite(each) for each in logits))
    ids = st.lists(st.integers(0, len(logits) - 1), max_size=8)
    prompt, reply = data.draw(ids), data.draw(ids)
    amounts = data.draw(
        st.dictionaries(st.integers(0, len(logits) - 1), st.sampled_from([-np.inf, -3.0, 4.0]), max_size=3)
    )
    bias = TokenBias(
        np.array(sorted(amounts), np.intp), np.array([amounts[each] for each in sorted(amounts)], np.float32)
    )
    rng = np.random.default_rng(seed)
    allowed = rng.random(len(logits)) < 0.7 if data.draw(st.booleans()) else None
    left = [at for at, each in enumerate(logits) if math.isfinite(each) and (allowed is None or allowed[at])]
    assume(any(amounts.get(at, 0.0) > -math.inf for at in left))
    sampler = Sampler(len(logits), seed, prompt)
    for token_id in reply:
        sampler.history.add(token_id)
    shortlist = applied(usable(array(logits)), params, sampler.history, bias, allowed)
    assert shortlist.left is not None
    kept, shares = shortlist.left, shortlist.weights / shortlist.weights.sum(dtype=np.float64)
    drawn = sampler.sample(array(logits), params, bias, allowed).token_id
    step = StepPreview.of(scores_of(array(logits), sampler.history.before(drawn), bias, allowed))
    view = step.under(params, len(logits) + 10)
    mine = {each.token_id: each.share for each in view.tokens if each.cut == "kept"}
    assert mine.keys() == set(kept.tolist())
    assert list(mine.values()) == pytest.approx(
        [shares.tolist()[kept.tolist().index(each)] for each in mine], abs=1e-6
    )
    assert view.kept == len(kept)
    short = step.under(params, 13)
    assert len(short.tokens) + len(short.rests) <= 13
    for whole in (view, short):
        listed = [*whole.tokens, *whole.rests]
        assert sum(each.share for each in listed if each.cut == "kept") == pytest.approx(1, abs=1e-5)
        cut = sum(each.share for each in listed if each.cut != "kept")
        assert cut + whole.kept_mass == pytest.approx(1, abs=1e-5)
        assert len(whole.tokens) + sum(each.tokens for each in whole.rests) == len(logits)
    uniform = (int(np.random.Philox(seed).random_raw()) >> 11) * 2.0**-53
    assert step.draws(params, [uniform]) == {drawn: 1}, "the sampler's own draw"


@settings(max_examples=sized(20, 500), deadline=None)
@given(st.lists(st.integers(0, 4), max_size=4), st.lists(st.integers(0, 4), max_size=6), st.integers(0, 4))
def test_a_history_knows_what_it_was_before_its_last_token(
    prompt: list[int], reply: list[int], last: int
) -> None:
    before, after = history_of(5, prompt, reply), history_of(5, prompt, [*reply, last])
    found = after.before(last)
    assert found.seen_ids.tolist() == before.seen_ids.tolist()
    assert dict(zip(found.reply_ids.tolist(), found.reply_counts.tolist(), strict=True)) == dict(
        zip(before.reply_ids.tolist(), before.reply_counts.tolist(), strict=True)
    )


def test_what_is_not_listed_is_summed_up_by_the_rule_that_cuts_it() -> None:
    logits = array([math.log(2.0 ** -(place + 1)) for place in range(20)])
    step = StepPreview(logits, History(20))
    params = SamplingParams(temperature=1.0, top_k=10, top_p=0.98, min_p=0.1)
    view = step.under(params, 7)  # 1/2, 1/4, 1/8 and 1/16 are left
    assert [(each.token_id, each.cut) for each in view.tokens] == [(0, "kept"), (1, "kept"), (2, "kept")]
    assert [(each.cut, each.tokens) for each in view.rests] == [
        ("kept", 1),
        ("top-k", 10),
        ("top-p", 4),
        ("min-p", 2),
    ]
    assert view.rests[0].share == pytest.approx(1 / 15)
    assert (view.kept, view.kept_mass) == (4, pytest.approx(15 / 16, abs=1e-5))


def test_greedy_shows_the_models_own_distribution_of_what_it_cuts() -> None:
    view = StepPreview(array(FOUR), History(4)).under(SamplingParams(temperature=0.0), 3)
    assert view.tokens[0].share == 1.0
    assert [(each.cut, each.tokens) for each in view.rests] == [("temperature", 3)]
    assert view.rests[0].share == pytest.approx(0.6)
    assert view.kept_mass == pytest.approx(0.4)


def test_twenty_draws_are_counted_the_most_frequent_first() -> None:
    step = StepPreview(array(FOUR), History(4))
    assert step.draws(PLAIN, [(place + 0.5) / 20 for place in range(20)]) == {0: 8, 1: 6, 2: 4, 3: 2}


def test_a_recorded_token_is_previewed_over_its_alternatives_and_the_reply_before_it() -> None:
    ids = (7, 3, 11, 5)
    alternatives = [Alternative(each, logprob, "kept") for each, logprob in zip(ids, FOUR, strict=True)]
    step = StepPreview.of_recorded(alternatives, reply_ids=[7, 7, 99])
    assert [each.token_id for each in step.under(PLAIN, 10).tokens] == [7, 3, 11, 5]
    params = SamplingParams(temperature=1.0, top_k=2, top_p=1.0, frequency_penalty=1.0)
    view = step.under(params, 10)
    assert [(each.token_id, each.cut) for each in view.tokens] == [
        (3, "kept"),
        (11, "kept"),
        (5, "top-k"),
        (7, "top-k"),
    ]
    assert view.tokens[0].share == pytest.approx(0.6)


def test_what_a_constraint_cut_of_a_recorded_token_stays_cut() -> None:
    cuts: list[Cut] = ["constraint", "kept", "constraint", "kept"]
    both = zip(FOUR, cuts, strict=True)
    alternatives = [Alternative(place, logprob, cut) for place, (logprob, cut) in enumerate(both)]
    view = StepPreview.of_recorded(alternatives, ()).under(PLAIN, 10)
    assert [each.token_id for each in view.tokens if each.cut == "kept"] == [1, 3]
    assert [(rest.cut, rest.tokens) for rest in view.rests] == [("constraint", 2)]
