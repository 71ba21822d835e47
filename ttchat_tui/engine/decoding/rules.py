"""The code of the sampler's rules, in numpy: exact, without sorting the whole vocabulary.

Their order is that of `domain/sampler_rules.py`, and each cut renormalises what the previous one left. vLLM
(`v1/sample/sampler.py`) has the same penalties and temperature but min-p before top-k and top-p; transformers
(`_get_logits_processor`) applies temperature, top-k, top-p, min-p as here; llama.cpp (`common_params_sampling`) has top-k,
top-p, min-p too, but the temperature last. Min-p compares with the most probable token, which no cut removes, so its
position only affects the total of top-p.

All cuts use one order of tokens: higher score first, lower id first among equals. Each keeps a prefix of that order.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import Cut
from ttchat_tui.domain.sampler_rules import RULES, RuleName
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.decoding.token_bias import NO_BIAS, TokenBias

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.intp]

_TINY: Final = 2.0**-126
"""Smallest normal float32: the smallest weight that can be drawn (precision is lost below it) and the lowest temperature."""

_FEW: Final = 512
"""So many weights are sorted in Python at most."""


class NoUsableLogits(EngineError):
    """Every logit is NaN or -inf. Nothing can be drawn, and an arbitrary token would hide a broken model."""

    kind = "no_usable_logits"

    def __init__(
        self,
        message: str = "The model gave no usable scores for the next token: all are NaN or minus infinity.",
        cure: str = "Load the model again, or with another precision.",
    ) -> None:
        super().__init__(message, cure)


class NothingLeft(NoUsableLogits):
    """The model has scores, but no token is both allowed and not banned."""

    kind = "logit_bias"

    def __init__(self) -> None:
        super().__init__(
            "The bans and the constraint leave no token to draw.",
            cure="Remove a ban (/unban), or answer without the constraint (/constrain off).",
        )


class Seen(Protocol):
    """The tokens that the penalties count."""

    @property
    def seen_ids(self) -> Ids:
        """Distinct ids of prompt and reply."""
        ...

    @property
    def reply_ids(self) -> Ids:
        """Distinct ids of the reply."""
        ...

    @property
    def reply_counts(self) -> NDArray[np.int32]:
        """How often each of `reply_ids` occurs in the reply."""
        ...


class Usable(NamedTuple):
    """Scores from which a token can be drawn."""

    scores: Floats
    """[vocab], without NaN."""
    top_id: int
    """Of the highest score, which is finite; of equal ones the lowest id."""

    @property
    def top(self) -> np.float32:
        return self.scores[self.top_id]


class Stage(NamedTuple):
    """What a rule that cuts has left."""

    rule: Cut
    ids: Ids
    """Ascending."""


class Shortlist:
    """The tokens that may still be drawn, while the rules are applied."""

    def __init__(
        self,
        own: Usable,
        params: SamplingParams,
        seen: Seen,
        bias: TokenBias,
        allowed: NDArray[np.bool_] | None,
    ) -> None:
        """
        Args:
            own: the model's scores.
            bias: that of `params`, in ids.
            allowed: bool [vocab], the tokens that a constraint allows; None: all.
        """
        self.own = own
        self.scores = own.scores
        """With what the rules have changed so far; those of `own` themselves if nothing has."""
        self.top_id = own.top_id
        """Of the highest of `scores`, from the temperature on. No cut removes it."""
        self.params = params
        self.seen = seen
        self.bias = bias.within(len(own.scores))
        self.allowed = allowed
        self.temperature = 1.0
        self.stages: list[Stage] = []
        """Of the rules that are in force, in order."""
        self.left: Ids | None = None
        """Ascending; None: all."""
        self._weights: Floats | None = None

    @property
    def count(self) -> int:
        return len(self.scores) if self.left is None else len(self.left)

    @property
    def is_changed(self) -> bool:
        """The rules have changed scores so far."""
        return self.scores is not self.own.scores

    @property
    def scores_left(self) -> Floats:
        """Of the tokens in `left`."""
        return self.scores if self.left is None else self.scores[self.left]

    @property
    def weights(self) -> Floats:
        """Unnormalised probabilities of `left`; the largest is 1. Made when they are first needed: a cut by order alone is
        cheaper before that."""
        if self._weights is None:
            self._weights = _weights(self.scores_left, self.scores[self.top_id], self.temperature)
        return self._weights

    @property
    @np.errstate(over="ignore")
    def weights_before_cuts(self) -> Floats:
        """As `weights`, of the whole vocabulary; where the temperature is 0, those at 1."""
        return _weights(self.scores, self.scores[self.top_id], self.temperature)

    def at_least(self, share: float) -> Ids:
        """Positions in `left`, ascending, of the weights that are at least `share` (above 0)."""
        if self._weights is not None:
            return (self._weights >= share).nonzero()[0]
        # The scores tell which weights are needed. The margin is wider than the rounding of exp() and of the division.
        scores, top = self.scores_left, self.scores[self.top_id]
        near = (scores >= float(top) + self.temperature * (math.log(share) - 0.01)).nonzero()[0]
        return near[_weights(scores[near], top, self.temperature) >= share]

    def writable_scores(self) -> Floats:
        """`scores`, for a rule to change; `own` stays."""
        if not self.is_changed:
            self.scores = np.array(self.scores)
        return self.scores

    def keep(self, rule: Cut, positions: Ids) -> None:
        """Keep these positions, ascending, of `left`."""
        if self._weights is not None and len(positions) < len(self._weights):
            self._weights = self._weights[positions]
        self.left = positions if self.left is None else self.left[positions]
        self.stages.append(Stage(rule, self.left))

    def keep_top(self, rule: Cut) -> None:
        """Keep the highest score."""
        self.left = np.array([self.top_id], dtype=np.intp)
        self.stages.append(Stage(rule, self.left))

    def cuts_of(self, ids: Ids) -> list[Cut]:
        """For each id the first rule that cut it, or `kept`."""
        cuts: list[Cut] = ["kept"] * len(ids)
        for stage in reversed(self.stages):
            for place in (~_are_in(stage.ids, ids)).nonzero()[0]:
                cuts[place] = stage.rule
        if len(self.bias.banned):
            for place in _are_in(self.bias.banned, ids).nonzero()[0]:
                if cuts[place] != "constraint":  # which comes before the bias
                    cuts[place] = "ban"
        return cuts


@np.errstate(over="ignore")
def applied(
    own: Usable,
    params: SamplingParams,
    seen: Seen,
    bias: TokenBias = NO_BIAS,
    allowed: NDArray[np.bool_] | None = None,
) -> Shortlist:
    """What can be drawn from the model's scores `own`, which do not change: ids in `left`, which is not None, with their
    `weights`, all above 0. `bias`: that of `params`, in ids. `allowed`: what a constraint allows, bool [vocab]; None: all.

    Raises:
        NothingLeft
    """
    shortlist = Shortlist(own, params, seen, bias, allowed)
    for apply in _IN_ORDER:
        apply(shortlist)
    _drop_what_is_too_small(shortlist)
    return shortlist


def usable(logits: Floats) -> Usable:
    """`logits` as float32; copied only if something has to change. If there is a +inf, only tokens at +inf can be drawn.

    Raises:
        NoUsableLogits: no token can be drawn.
    """
    scores = np.asarray(logits, dtype=np.float32)
    # For numpy a NaN is the maximum: one pass finds both.
    top_id = int(scores.argmax())
    if math.isfinite(scores[top_id]):
        return Usable(scores, top_id)
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    top_id = int(scores.argmax())
    top = scores[top_id]
    if top == -np.inf:
        raise NoUsableLogits
    if top == np.inf:
        scores = np.where(scores == np.inf, np.float32(0.0), np.float32(-np.inf))
    return Usable(scores, top_id)


def highest(scores: Floats, count: int, likely: Ids | None = None) -> Ids:
    """Positions of the `count` highest scores, highest first; without those at -inf. `likely`: `count` positions or more;
    the higher their scores, the less there is to search."""
    if likely is not None:
        near = (scores >= np.partition(scores[likely], -count)[-count]).nonzero()[0]
    else:
        near = _top_k(scores, count) if len(scores) > count else np.arange(len(scores))
    return ranked(scores, near)[:count]


def ranked(scores: Floats, ids: Ids) -> Ids:
    """Ascending `ids` by score, highest first; without those at -inf."""
    values = scores[ids]
    order = (-values).argsort(kind="stable")
    return ids[order[values[order] > -np.inf]]


# --- the rules


def _keep_to_constraint(shortlist: Shortlist) -> None:
    if shortlist.allowed is None:
        return
    # The scores as well: what may not be drawn is no maximum for the rules after this one.
    np.copyto(shortlist.writable_scores(), np.float32(-np.inf), where=~shortlist.allowed)
    shortlist.keep("constraint", np.flatnonzero(shortlist.allowed))


def _add_bias(shortlist: Shortlist) -> None:
    bias = shortlist.bias
    if len(bias.ids):
        shortlist.writable_scores()[bias.ids] += bias.amounts


def _penalise_repetition(shortlist: Shortlist) -> None:
    if shortlist.params.repetition_penalty == 1.0:
        return
    scores, seen = shortlist.writable_scores(), shortlist.seen.seen_ids
    before = scores[seen]
    factor = np.float32(shortlist.params.repetition_penalty)
    np.multiply(before, factor, out=before, where=before < 0)
    np.divide(before, factor, out=before, where=before > 0)
    scores[seen] = before


def _penalise_presence_and_frequency(shortlist: Shortlist) -> None:
    params, seen = shortlist.params, shortlist.seen
    if params.presence_penalty == 0.0 and params.frequency_penalty == 0.0:
        return
    scores = shortlist.writable_scores()
    penalties = params.presence_penalty + params.frequency_penalty * seen.reply_counts
    scores[seen.reply_ids] -= penalties.astype(np.float32)


def _apply_temperature(shortlist: Shortlist) -> None:
    if shortlist.is_changed:
        try:
            shortlist.scores, shortlist.top_id = usable(shortlist.scores)
        except NoUsableLogits as error:
            raise NothingLeft from error
    if shortlist.params.temperature == 0.0:
        shortlist.keep_top("temperature")
    else:
        shortlist.temperature = max(shortlist.params.temperature, _TINY)


def _keep_top_k(shortlist: Shortlist) -> None:
    if 0 < shortlist.params.top_k < shortlist.count:
        shortlist.keep("top-k", _top_k(shortlist.scores_left, shortlist.params.top_k))


def _keep_top_p(shortlist: Shortlist) -> None:
    if shortlist.params.top_p < 1.0 and shortlist.count > 1:
        shortlist.keep("top-p", _nucleus(shortlist.weights, shortlist.params.top_p))


def _drop_below_min_p(shortlist: Shortlist) -> None:
    if shortlist.params.min_p >= _TINY and shortlist.count > 1:
        shortlist.keep("min-p", shortlist.at_least(shortlist.params.min_p))


def _drop_what_is_too_small(shortlist: Shortlist) -> None:
    """A low temperature leaves shares that are too small to draw."""
    if shortlist.count > 1 and shortlist.weights.min() < _TINY:
        shortlist.keep("temperature", (shortlist.weights >= _TINY).nonzero()[0])
    elif shortlist.left is None:
        shortlist.keep("temperature", _every_id(shortlist.count))


_CODE: Final[dict[RuleName, Callable[[Shortlist], None]]] = {
    "constraint": _keep_to_constraint,
    "logit bias": _add_bias,
    "repetition": _penalise_repetition,
    "presence, frequency": _penalise_presence_and_frequency,
    "temperature": _apply_temperature,
    "top-k": _keep_top_k,
    "top-p": _keep_top_p,
    "min-p": _drop_below_min_p,
}
_IN_ORDER: Final[Sequence[Callable[[Shortlist], None]]] = [_CODE[rule.name] for rule in RULES]


# --- their arithmetic


@lru_cache(maxsize=2)
def _every_id(count: int) -> Ids:
    ids = np.arange(count)
    ids.flags.writeable = False
    return ids


def _top_k(scores: Floats, k: int) -> Ids:
    """Positions of the `k` highest scores, ascending. Of equal scores at the edge the lower ids stay."""
    near = (scores >= _kth_highest_at_least(scores, k)).nonzero()[0]
    values = scores[near]
    kth = np.partition(values, len(values) - k)[len(values) - k]
    return near[_down_to(kth, values, k)]


def _down_to(edge: np.float32 | float, values: Floats, count: int) -> Ids:
    """Positions of the `count` highest values, ascending, of which `edge` is the lowest. Of equal ones the first stay."""
    positions = (values >= edge).nonzero()[0]
    if len(positions) > count:
        ties = (values[positions] == edge).nonzero()[0]
        positions = np.delete(positions, ties[count - len(positions) :])
    return positions


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
    maxima.partition(groups - k)
    return float(maxima[groups - k])


def _nucleus(weights: Floats, top_p: float) -> Ids:
    """Positions, ascending, of the smallest set of top weights that holds at least `top_p` of the total, where the largest
    weight is 1. Of equal weights at the edge the lower ids stay."""
    total = float(weights.sum(dtype=np.float64))
    # No weight of the set is below (1 - top_p) / n = 2**-19, so that their sums are exact in double precision, in any order:
    # both ways find the same set.
    if len(weights) <= _FEW and top_p <= 1 - 2.0**-10:
        return _nucleus_of_few(weights, top_p * total)
    return _nucleus_of_many(weights, top_p, total)


def _nucleus_of_few(weights: Floats, target: float) -> Ids:
    ranked = sorted(weights.tolist(), reverse=True)
    count = bisect_left(list(accumulate(ranked)), target) + 1
    return _down_to(ranked[count - 1], weights, count)


def _nucleus_of_many(weights: Floats, top_p: float, total: float) -> Ids:
    """Instead of sorting: (1) drop weights below (1 - top_p) / n of the total, since all of them together cannot make up
    1 - top_p; (2) sum the rest into bins by the leading bits of the float, which sort as the weights do; (3) sort only the
    bin in which the sum passes top_p.
    """
    target = top_p * total
    near = (weights >= max((1.0 - top_p) * total / len(weights), _TINY)).nonzero()[0]
    values = weights[near]
    # Sign, exponent and 6 bits of the mantissa: 8,129 bins up to 1.0, each at most 1.6 % wide.
    bins: Ids = (np.frombuffer(values, dtype=np.uint32) >> 17).astype(np.intp)
    bins -= bins.min()
    from_top = np.bincount(bins, weights=values)[::-1].cumsum()
    passed = int(from_top.searchsorted(target))
    if passed == len(from_top):  # the sum falls short by rounding
        return near
    edge = len(from_top) - 1 - passed
    above = float(from_top[passed - 1]) if passed else 0.0
    in_edge = (bins == edge).nonzero()[0]
    by_weight = in_edge[(-values[in_edge]).argsort(kind="stable")]
    needed = int((above + values[by_weight].cumsum(dtype=np.float64)).searchsorted(target)) + 1
    is_kept = bins > edge
    is_kept[by_weight[:needed]] = True
    return near[is_kept]


def _weights(scores: Floats, top: np.float32, temperature: float) -> Floats:
    """exp((scores - top) / temperature)."""
    # Dividing after the subtraction keeps the smallest temperature from making a NaN, and the top weight exactly 1.
    exponents = scores - top
    exponents /= np.float32(temperature)
    return np.exp(exponents, out=exponents)


def _are_in(ascending: Ids, ids: Ids) -> NDArray[np.bool_]:
    return ascending.take(ascending.searchsorted(ids), mode="clip") == ids
