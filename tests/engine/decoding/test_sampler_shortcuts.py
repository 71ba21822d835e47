"""The sampler's shortcuts against the rules applied to the whole vocabulary: the same draws and figures, bit for bit."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from tests.engine.decoding.test_sampler import PARAMS, SMALL, array, history_of, random_logits
from tests.size import sized
from ttchat_tui.domain.recording import ALTERNATIVES, Distribution, packed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.passes import NUMPY
from ttchat_tui.engine.decoding.sampler import History, Sampler
from ttchat_tui.engine.decoding.selection import TINY, Floats, Ids
from ttchat_tui.engine.decoding.token_bias import TokenBias


class Plain:
    """One step without shortcuts: a sort of all tokens for each rule, and weights of all tokens."""

    def __init__(
        self,
        own: Floats,
        params: SamplingParams,
        history: History,
        bias: TokenBias,
        allowed: NDArray[np.bool_] | None,
    ) -> None:
        self.own, self.scores = own, changed(own, params, history, bias, allowed)
        self.left: Ids = np.arange(len(own)) if allowed is None else allowed.nonzero()[0]
        self.cuts = ["kept" if allowed is None or allowed[i] else "constraint" for i in range(len(own))]
        self.weights = NUMPY.weights(self.scores, self.scores.max(), max(params.temperature, TINY))
        if params.temperature == 0.0:
            self.cut("temperature", np.array([self.scores.argmax()]))
        if params.top_k:
            self.cut("top-k", self.in_order(self.scores)[: params.top_k])
        if params.top_p < 1.0 and len(self.left) > 1:
            self.cut("top-p", self.nucleus(params.top_p))
        if params.min_p >= TINY and len(self.left) > 1:
            self.cut("min-p", self.left[self.weights[self.left] >= params.min_p])
        self.cut("temperature", self.left[self.weights[self.left] > TINY])
        for i in bias.banned:
            self.cuts[i] = "ban" if self.cuts[i] != "constraint" else "constraint"

    def cut(self, rule: str, kept: Ids) -> None:
        for i in np.setdiff1d(self.left, kept):
            self.cuts[i] = rule
        self.left = np.sort(kept)

    def in_order(self, values: Floats) -> Ids:
        return self.left[np.lexsort((self.left, -values[self.left]))]

    def nucleus(self, top_p: float) -> Ids:
        total = sum(units(self.weights[self.left])) / 2**44
        ranked = self.in_order(self.weights)
        needed = int(np.searchsorted(self.weights[ranked].cumsum(dtype=np.float64), top_p * total)) + 1
        return ranked[:needed]

    def draw(self, uniform: float) -> int:
        sums = list(accumulate(units(self.weights[self.left])))
        return int(self.left[bisect_right(sums, int(uniform * 2**53) * sums[-1] // 2**53)])

    def recorded(self, token_id: int) -> tuple[float, Distribution]:
        own, ids = self.own, np.arange(len(self.own))
        shifted = own - own.max()
        weights = NUMPY.weights(own, own.max(), 1.0)
        total = sum(units(weights))
        log_sum = math.log(total) - 44 * math.log(2)
        log_total = float(own.max()) + log_sum
        weighted = sum(units(weights * np.maximum(shifted, np.float32(-200))))
        ranked = np.lexsort((ids, -own))
        head = [int(i) for i in ranked[:ALTERNATIVES] if own[i] > -np.inf]
        listed = [(i, float(own[i] - np.float32(log_total)), self.cuts[i]) for i in head]
        entropy = max(0.0, log_sum - weighted / total)
        return float(own[token_id]) - log_total, Distribution(
            rank=ranked.tolist().index(token_id),
            entropy=entropy,
            alternatives=packed(listed),  # pyright: ignore[reportArgumentType] - the names of cuts
        )


def units(weights: Floats) -> list[int]:
    return [round(weight * 2**44) for weight in weights.tolist()]


def changed(
    own: Floats,
    params: SamplingParams,
    history: History,
    bias: TokenBias,
    allowed: NDArray[np.bool_] | None,
) -> Floats:
    """The scores with constraint, bias and penalties."""
    scores = np.array(own)
    if allowed is not None:
        scores[~allowed] = -np.inf
    scores[bias.ids] += bias.amounts
    factor = np.float32(params.repetition_penalty)
    for i in history.seen_ids if params.repetition_penalty != 1.0 else ():
        scores[i] = scores[i] * factor if scores[i] < 0 else scores[i] / factor
    penalties = params.presence_penalty + params.frequency_penalty * history.reply_counts
    scores[history.reply_ids] -= penalties.astype(np.float32)
    return scores


@st.composite
def settings_of_each_shortcut(draw: st.DrawFn) -> SamplingParams:
    """Each cut alone as well, and temperatures at which all weights but one are 0."""
    params = draw(PARAMS)
    # Nearer to 1, the order in which weights are added decides.
    top_p = draw(st.sampled_from((1.0, 0.5, 0.95, min(params.top_p, 1 - 1e-6))))
    top_k = draw(st.sampled_from((0, params.top_k)))
    min_p = draw(st.sampled_from((params.min_p, 0.01, 0.2)))
    temperature = draw(st.just(params.temperature) | st.sampled_from((5e-324, 1e-40, 1e-3)))
    return replace(params, top_k=top_k, top_p=top_p, min_p=min_p, temperature=temperature)


@settings(max_examples=sized(150, 3000), deadline=None)
@given(SMALL | random_logits(), settings_of_each_shortcut(), st.integers(0, 2**32), st.data())
def test_a_recorded_draw_is_that_of_the_rules_without_shortcuts(
    logits: list[float], params: SamplingParams, seed: int, data: st.DataObject
) -> None:
    own = np.array([-np.inf if math.isnan(each) else each for each in logits], dtype=np.float32)
    ids = st.integers(0, len(own) - 1)
    prompt = data.draw(st.lists(ids, max_size=8))
    amounts = data.draw(st.dictionaries(ids, st.sampled_from((-np.inf, -2.0, 1.5)), max_size=4))
    bias = TokenBias(
        np.array(sorted(amounts), np.intp), np.array([amounts[i] for i in sorted(amounts)], "f4")
    )
    allowed = np.random.default_rng(seed).random(len(own)) < 0.6 if data.draw(st.booleans()) else None
    history, uniforms = history_of(len(own), prompt, []), np.random.Philox(seed)
    sampler, recording = (Sampler(len(own), seed, prompt) for _ in range(2))
    for _ in range(3):
        assume(np.isfinite(changed(own, params, history, bias, allowed).max()))
        plain = Plain(own, params, history, bias, allowed)
        token_id = plain.draw((int(uniforms.random_raw()) >> 11) * 2.0**-53)
        logprob, expected = plain.recorded(token_id)
        history.add(token_id)
        drawn = sampler.sample(array(logits), params, bias, allowed)
        recorded = recording.sample_recorded(array(logits), params, bias, allowed, with_alternatives=True)
        assert drawn == (token_id, logprob)
        assert recorded == (drawn, expected)
