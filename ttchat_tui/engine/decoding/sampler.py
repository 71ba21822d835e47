"""Host sampler: logits → token in numpy, exact, without sorting the whole vocabulary.

Order: repetition, then frequency and presence penalty → temperature 0 is greedy → temperature → top-k → top-p →
min-p → draw; each truncation renormalises what the previous one left. vLLM (`v1/sample/sampler.py`) has the same
penalties and temperature but min-p before top-k and top-p; transformers (`_get_logits_processor`) applies
temperature, top-k, top-p, min-p as here; llama.cpp (`common_params_sampling`) has top-k, top-p, min-p too, but the
temperature last. Min-p compares with the most probable token, which no truncation removes, so its position only
affects the total of top-p.

All truncations use one order of tokens: higher score first, lower id first among equals. `_top_k` and `_nucleus` keep
a prefix of that order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import ALTERNATIVES, Cut, Distribution, packed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.intp]

_TINY: Final = 2.0**-126
"""Smallest normal float32: the smallest weight that can be drawn (precision is lost below it) and the lowest temperature."""

_NEVER: Final = np.float32(-200.0)
"""exp() of it is 0 in float32."""

_BLOCK: Final = 256
"""Weights per block in the first step of `_draw`."""


class NoUsableLogits(EngineError):
    """Every logit is NaN or -inf. Nothing can be drawn, and an arbitrary token would hide a broken model."""

    kind = "no_usable_logits"

    def __init__(self) -> None:
        super().__init__(
            "The model gave no usable scores for the next token: all are NaN or minus infinity.",
            cure="Load the model again, or with another precision.",
        )


class Sampled(NamedTuple):
    """One drawn token."""

    token_id: int
    logprob: float
    """Natural log of its probability in the model's own distribution: no penalty, temperature 1, no truncation."""


class _Kept(NamedTuple):
    """What is left to draw from."""

    ids: Ids
    """Ascending."""
    weights: Floats
    """Their unnormalised probabilities, all above 0."""
    line: Cut
    """The rule that cut the most probable token of those that top-k left."""
    top_k: Ids | None = None
    """What top-k left, ascending; None: it was off."""
    is_penalised: bool = False


class History:
    """The tokens of a prompt and of the reply so far, as the penalties count them.

    Ids outside the vocabulary (padding of the embedding) are ignored, since the model cannot produce them.
    """

    def __init__(self, vocab_size: int, prompt_ids: Sequence[int] = ()) -> None:
        prompt = np.unique(np.asarray(prompt_ids, dtype=np.intp))
        prompt = prompt[(prompt >= 0) & (prompt < vocab_size)]
        self._counts = np.zeros(vocab_size, dtype=np.int32)
        self._is_seen = np.zeros(vocab_size, dtype=np.bool_)
        self._is_seen[prompt] = True
        self._seen = np.empty(vocab_size, dtype=np.intp)
        self._seen[: len(prompt)] = prompt
        self._n_seen = len(prompt)
        self._replied = np.empty(vocab_size, dtype=np.intp)
        self._n_replied = 0

    def add(self, token_id: int) -> None:
        """Count one more token of the reply."""
        if self._counts[token_id] == 0:
            self._replied[self._n_replied] = token_id
            self._n_replied += 1
        self._counts[token_id] += 1
        if not self._is_seen[token_id]:
            self._is_seen[token_id] = True
            self._seen[self._n_seen] = token_id
            self._n_seen += 1

    @property
    def seen_ids(self) -> Ids:
        """Distinct ids of prompt and reply. A read-only view."""
        return self._seen[: self._n_seen]

    @property
    def reply_ids(self) -> Ids:
        """Distinct ids of the reply. A read-only view."""
        return self._replied[: self._n_replied]

    @property
    def reply_counts(self) -> NDArray[np.int32]:
        """How often each of `reply_ids` occurs in the reply."""
        return self._counts[self.reply_ids]


class Sampler:
    """Draws the tokens of one reply.

    Each token uses one uniform number, a greedy one too. So the i-th token depends only on the seed, on i, and on its own
    logits and parameters: a parameter changed and changed back leaves later draws as they were. The numbers are the raw
    words of a Philox generator, which numpy keeps stable between versions (NEP 19).
    """

    def __init__(self, vocab_size: int, seed: int, prompt_ids: Sequence[int] = ()) -> None:
        self.history = History(vocab_size, prompt_ids)
        self._bits = np.random.Philox(seed)

    def sample(self, logits: Floats, params: SamplingParams) -> Sampled:
        """Draw the next token from `logits`, float32 [vocab], and count it in the history. `logits` do not change.

        Tokens at NaN or -inf cannot be drawn; if there is a +inf, only tokens at +inf can.

        Raises:
            NoUsableLogits: no token can be drawn.
        """
        scores = _usable(logits)
        token_id, _ = self._draw(scores, params)
        return Sampled(token_id, float(scores[token_id]) - _log_total(scores))

    def sample_recorded(
        self, logits: Floats, params: SamplingParams, *, with_alternatives: bool
    ) -> tuple[Sampled, Distribution]:
        """`sample`, and what a recording keeps of the model's own distribution. Raises NoUsableLogits."""
        scores = _usable(logits)
        token_id, kept = self._draw(scores, params)
        log_total, entropy = _log_total_and_entropy(scores)
        top = _most_probable(scores, kept)
        distribution = Distribution(
            rank=_rank(scores, token_id, top),
            entropy=entropy,
            alternatives=_alternatives(scores[top] - log_total, top, kept) if with_alternatives else b"",
        )
        return Sampled(token_id, float(scores[token_id]) - log_total), distribution

    def _draw(self, scores: Floats, params: SamplingParams) -> tuple[int, _Kept]:
        uniform = (int(self._bits.random_raw()) >> 11) * 2.0**-53
        kept = _candidates(scores, params, self.history)
        token_id = _draw(kept.ids, kept.weights, uniform)
        self.history.add(token_id)
        return token_id, kept


def distribution(logits: Floats, params: SamplingParams, history: History) -> tuple[Ids, NDArray[np.float64]]:
    """The distribution of the next token: the remaining ids and their probabilities, most probable first.

    The probabilities sum to 1; equal ones are in order of id. Neither `logits` nor `history` changes.

    Raises:
        NoUsableLogits: no token can be drawn.
    """
    ids, weights, *_ = _candidates(_usable(logits), params, history)
    order = np.lexsort((ids, -weights))
    probabilities = weights[order].astype(np.float64)
    return ids[order], probabilities / probabilities.sum()


def _usable(logits: Floats) -> Floats:
    """`logits` as float32 with a finite maximum and no NaN; copied only if something has to change."""
    scores = np.asarray(logits, dtype=np.float32)
    # The maximum of an array with a NaN is NaN: one pass finds both.
    if math.isfinite(scores.max()):
        return scores
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    top = scores.max()
    if top == -np.inf:
        raise NoUsableLogits
    if top == np.inf:
        return np.where(scores == np.inf, np.float32(0.0), np.float32(-np.inf))
    return scores


@np.errstate(over="ignore")
def _candidates(own: Floats, params: SamplingParams, history: History) -> _Kept:
    """What can be drawn. `own`: the model's scores."""
    scores = _usable(_penalised(own, params, history))
    is_penalised = scores is not own
    if params.temperature == 0.0:
        first = np.array([scores.argmax()], dtype=np.intp)
        return _Kept(first, np.ones(1, dtype=np.float32), "temperature", is_penalised=is_penalised)
    top = scores.max()
    ids: Ids | None = None
    if 0 < params.top_k < len(scores):
        ids = _top_k(scores, params.top_k)
        scores = scores[ids]
    # Dividing after the subtraction keeps the smallest temperature from making a NaN, and the top weight exactly 1.
    weights: Floats = np.exp((scores - top) / np.float32(max(params.temperature, _TINY)))
    kept, line = _nucleus(weights, params.top_p, params.min_p)
    return _Kept(kept if ids is None else ids[kept], weights[kept], line, ids, is_penalised)


def _penalised(scores: Floats, params: SamplingParams, history: History) -> Floats:
    """A copy of `scores` with the penalties applied; `scores` itself without penalties."""
    is_repetition = params.repetition_penalty != 1.0
    is_reply = params.presence_penalty != 0.0 or params.frequency_penalty != 0.0
    if not (is_repetition or is_reply):
        return scores
    scores = np.array(scores)
    if is_repetition:
        seen = history.seen_ids
        before = scores[seen]
        factor = np.float32(params.repetition_penalty)
        np.multiply(before, factor, out=before, where=before < 0)
        np.divide(before, factor, out=before, where=before > 0)
        scores[seen] = before
    if is_reply:
        penalties = params.presence_penalty + params.frequency_penalty * history.reply_counts
        scores[history.reply_ids] -= penalties.astype(np.float32)
    return scores


def _top_k(scores: Floats, k: int) -> Ids:
    """Positions of the `k` highest scores, ascending. Of equal scores at the edge the lower ids stay."""
    near = np.flatnonzero(scores >= _kth_highest_at_least(scores, k))
    values = scores[near]
    kth = np.partition(values, len(values) - k)[len(values) - k]
    is_above = values > kth
    ties = np.flatnonzero(values == kth)[: k - int(is_above.sum())]
    is_above[ties] = True
    return near[is_above]


def _kth_highest_at_least(scores: Floats, k: int) -> float:
    """A lower bound of the k-th highest score, found in one pass.

    Split the scores into groups and take the maximum of each: k of the maxima are at least the k-th highest maximum, so
    that bounds the k-th highest score from below. Few other scores pass it.
    """
    groups = max(1024, 4 * k)
    width = len(scores) // groups
    if width < 2:
        return -math.inf
    # The groups are columns: the maximum then runs over contiguous rows and vectorises.
    maxima = np.reshape(scores[: width * groups], (width, groups)).max(axis=0)
    return float(np.partition(maxima, groups - k)[groups - k])


def _nucleus(weights: Floats, top_p: float, min_p: float) -> tuple[Ids, Cut]:
    """Positions, ascending, of the smallest set of top weights that holds at least `top_p` of the total, and the rule that
    ended it.

    Weights below `min_p` are left out too; the largest weight is 1, so at least one position remains. Of equal weights
    at the edge the lower ids stay.

    Instead of sorting: (1) drop weights below (1 - top_p) / n of the total, since all of them together cannot make up
    1 - top_p, and weights below min_p, since both sets are prefixes of one order; (2) sum the rest into bins by the
    leading bits of the float, which sort as the weights do; (3) sort only the bin in which the sum passes top_p.
    """
    floor: Cut = "min-p" if min_p >= _TINY else "temperature"
    if top_p >= 1.0:
        return np.flatnonzero(weights >= max(min_p, _TINY)), floor
    total = float(weights.sum(dtype=np.float64))
    target = top_p * total
    negligible = (1.0 - top_p) * total / len(weights)
    near = np.flatnonzero(weights >= max(min_p, negligible, _TINY))
    values = weights[near]
    # Sign, exponent and 6 bits of the mantissa: 8,129 bins up to 1.0, each at most 1.6 % wide.
    bins: Ids = (np.frombuffer(values, dtype=np.uint32) >> 17).astype(np.intp)
    from_top = np.cumsum(np.bincount(bins, weights=values)[::-1])
    passed = int(np.searchsorted(from_top, target))
    if passed == len(from_top):
        # min-p leaves less than top_p, or the sum falls short of it by rounding.
        return near, "top-p" if negligible > max(min_p, _TINY) else floor
    edge = len(from_top) - 1 - passed
    above = float(from_top[passed - 1]) if passed else 0.0
    in_edge = np.flatnonzero(bins == edge)
    ranked = in_edge[np.argsort(-values[in_edge], kind="stable")]
    needed = int(np.searchsorted(above + np.cumsum(values[ranked], dtype=np.float64), target)) + 1
    is_kept = bins > edge
    is_kept[ranked[:needed]] = True
    return near[is_kept], "top-p"


def _draw(ids: Ids, weights: Floats, uniform: float) -> int:
    """The id at `uniform` (0 ≤ uniform < 1) of the cumulative weights, in two steps: find the block, then the id in it."""
    blocks = np.cumsum(np.add.reduceat(weights, np.arange(0, len(ids), _BLOCK), dtype=np.float64))
    target = uniform * float(blocks[-1])
    block = min(int(np.searchsorted(blocks, target, side="right")), len(blocks) - 1)
    rest = target - (float(blocks[block - 1]) if block else 0.0)
    inside = np.cumsum(weights[block * _BLOCK : (block + 1) * _BLOCK], dtype=np.float64)
    position = min(int(np.searchsorted(inside, rest, side="right")), len(inside) - 1)
    return int(ids[block * _BLOCK + position])


def _log_total(scores: Floats) -> float:
    """Natural log of the sum of exp(scores): a score minus it is a log-probability."""
    top = scores.max()
    return float(top) + math.log(float(np.exp(scores - top).sum()))


def _log_total_and_entropy(scores: Floats) -> tuple[float, float]:
    """`_log_total`, and from the same pass the entropy in nats: log Z minus the mean score."""
    top = scores.max()
    shifted = scores - top
    weights = np.exp(shifted)
    total = float(weights.sum())
    # Not np.dot: BLAS would wake threads that the forward needs.
    weighted = float(np.einsum("i,i->", weights, shifted))
    if math.isnan(weighted):  # 0 * -inf: a masked token
        weighted = float(np.einsum("i,i->", weights, np.maximum(shifted, _NEVER)))
    return float(top) + math.log(total), max(0.0, math.log(total) - weighted / total)


def _most_probable(scores: Floats, kept: _Kept) -> Ids:
    """The ids of the highest scores, highest first, at most `ALTERNATIVES`; without those at -inf."""
    near = kept.top_k
    if near is None or kept.is_penalised or len(near) < ALTERNATIVES:
        near = _top_k(scores, ALTERNATIVES) if len(scores) > ALTERNATIVES else np.arange(len(scores))
    values = scores[near]
    order = np.argsort(-values, kind="stable")[:ALTERNATIVES]
    return near[order[values[order] > -np.inf]]


def _rank(scores: Floats, token_id: int, top: Ids) -> int:
    """How many tokens come before this one. `top`: the first ones."""
    found = np.flatnonzero(top == token_id)
    if len(found):
        return int(found[0])
    score = scores[token_id]
    return int((scores > score).sum()) + int((scores[:token_id] == score).sum())


def _alternatives(logprobs: Floats, ids: Ids, kept: _Kept) -> bytes:
    """`ids`, most probable first, with the rule that cut each."""
    is_kept = _are_in(kept.ids, ids)
    has_passed_k = is_kept if kept.top_k is None else _are_in(kept.top_k, ids)
    cuts: list[Cut] = [
        "kept" if is_drawable else kept.line if has_passed or kept.top_k is None else "top-k"
        for is_drawable, has_passed in zip(is_kept.tolist(), has_passed_k.tolist(), strict=True)
    ]
    return packed(list(zip(ids.tolist(), logprobs.tolist(), cuts, strict=True)))


def _are_in(ascending: Ids, ids: Ids) -> NDArray[np.bool_]:
    places = np.searchsorted(ascending, ids)
    return ascending[np.minimum(places, len(ascending) - 1)] == ids
