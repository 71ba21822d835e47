"""The code of the sampler's rules, in numpy: exact, without sorting the whole vocabulary.

Their order is that of `domain/sampler_rules.py`, and each cut renormalises what the previous one left. vLLM
(`v1/sample/sampler.py`) has the same penalties and temperature but min-p before top-k and top-p; transformers
(`_get_logits_processor`) applies temperature, top-k, top-p, min-p as here; llama.cpp (`common_params_sampling`) has top-k,
top-p, min-p too, but the temperature last. Min-p compares with the most probable token, which no cut removes, so its
position only affects the total of top-p.

All cuts use one order of tokens: higher score first, lower id first among equals. Each keeps a prefix of that order. For top-p
scores are equal that have the same float32 weight.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import Cut
from ttchat_tui.domain.sampler_rules import RULES, RuleName
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.decoding.passes import NUMPY, UNITS, Passes, Units, units_of_few
from ttchat_tui.engine.decoding.selection import FEW, TINY, Floats, Ids, nucleus
from ttchat_tui.engine.decoding.token_bias import NO_BIAS, TokenBias


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


class Usable:
    """Scores from which a token can be drawn."""

    def __init__(self, scores: Floats, top_id: int, passes: Passes) -> None:
        self.scores = scores
        """[vocab], without NaN."""
        self.top_id = top_id
        """Of the highest score, which is finite; of equal ones the lowest id."""
        self.top: np.float32 = scores[top_id]
        self.passes = passes
        self._weights: Floats | None = None
        self._sums: Units | None = None

    @property
    def weights(self) -> Floats:
        """exp(scores - top), [vocab]; made once, not to be changed."""
        if self._weights is None:
            self._weights = self.passes.weights(self.scores, self.top, 1.0)
        return self._weights

    @property
    def sums(self) -> Units:
        """Of the weights, as `Passes.sums`; made once."""
        if self._sums is None:
            self._sums = self.passes.sums(self.scores, self.top, 1.0, self._weights)
        return self._sums


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
        """Of the highest of `scores`, from the temperature on."""
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
    def is_whole(self) -> bool:
        """No token is cut."""
        return self.left is None or len(self.left) == len(self.scores)

    @property
    def is_changed(self) -> bool:
        """The rules have changed scores so far."""
        return self.scores is not self.own.scores

    @property
    def scores_left(self) -> Floats:
        """Of the tokens in `left`."""
        return self.scores if self.is_whole else self.scores[self.left]

    @property
    def weights(self) -> Floats:
        """Unnormalised probabilities of `left`; the largest is 1. Made when they are first needed: a cut by order alone is
        cheaper before that."""
        if self._weights is None:
            self._weights = self.weights_before_cuts if self.is_whole else self._weighed(self.scores_left)
        return self._weights

    @property
    def sums(self) -> Units:
        """Of the weights of `left`, as `Passes.sums`."""
        if self.is_whole and self.temperature == 1.0 and not self.is_changed:
            return self.own.sums
        return self.own.passes.sums(
            self.scores_left, self.scores[self.top_id], self.temperature, self._weights
        )

    @property
    def total(self) -> float:
        """Of the weights of `left`."""
        units = sum(units_of_few(self.weights)) if self.count <= FEW else int(self.sums[-1])
        return units / UNITS

    def weights_at(self, begin: int, end: int) -> Floats:
        """Of these positions in `left`."""
        if self._weights is not None:
            return self._weights[begin:end]
        if self.left is None:
            return self._weighed(self.scores[begin:end])
        return self._weighed(self.scores[self.left[begin:end]])

    @property
    def weights_before_cuts(self) -> Floats:
        """As `weights`, of the whole vocabulary; where the temperature is 0, those at 1."""
        if self.temperature == 1.0 and not self.is_changed:
            return self.own.weights
        return self._weighed(self.scores)

    def _weighed(self, scores: Floats) -> Floats:
        return self.own.passes.weights(scores, self.scores[self.top_id], self.temperature)

    def at_least(self, share: float) -> Ids:
        """Positions in `left`, ascending, of the weights that are at least `share` (above 0)."""
        if self._weights is not None:
            return (self._weights >= share).nonzero()[0]
        # The scores tell which weights are needed. The margin is wider than the rounding of exp() and of the division.
        scores, top = self.scores_left, self.scores[self.top_id]
        near = (scores >= float(top) + self.temperature * (math.log(share) - 0.01)).nonzero()[0]
        return near[self._weighed(scores[near]) >= share]

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
            for place, is_left in enumerate(_are_in(stage.ids, ids)):
                if not is_left:
                    cuts[place] = stage.rule
        if len(self.bias.banned):
            for place, is_banned in enumerate(_are_in(self.bias.banned, ids)):
                if is_banned and cuts[place] != "constraint":  # which comes before the bias
                    cuts[place] = "ban"
        return cuts


def applied(
    own: Usable,
    params: SamplingParams,
    seen: Seen,
    bias: TokenBias = NO_BIAS,
    allowed: NDArray[np.bool_] | None = None,
) -> Shortlist:
    """What can be drawn from the model's scores `own`, which do not change: ids in `left`, which is not None, with their
    `weights`, all above `TINY`. `bias`: that of `params`, in ids. `allowed`: what a constraint allows, bool [vocab]; None: all.

    Raises:
        NothingLeft
    """
    shortlist = drawable(own, params, seen, bias, allowed)
    _drop_what_is_too_small(shortlist)
    return shortlist


def drawable(
    own: Usable,
    params: SamplingParams,
    seen: Seen,
    bias: TokenBias = NO_BIAS,
    allowed: NDArray[np.bool_] | None = None,
) -> Shortlist:
    """As `applied`, which gives the same draws, but with what is too small to be drawn. Raises NothingLeft."""
    shortlist = Shortlist(own, params, seen, bias, allowed)
    for apply in _IN_ORDER:
        apply(shortlist)
    return shortlist


def usable(logits: Floats, passes: Passes = NUMPY) -> Usable:
    """`logits` as float32; copied only if something has to change. If there is a +inf, only tokens at +inf can be drawn.

    Raises:
        NoUsableLogits: no token can be drawn.
    """
    scores = np.asarray(logits, dtype=np.float32)
    # A NaN is the maximum: one pass finds both.
    top_id = passes.top_id(scores)
    if math.isfinite(scores[top_id]):
        return Usable(scores, top_id, passes)
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    top_id = int(scores.argmax())
    top = scores[top_id]
    if top == -np.inf:
        raise NoUsableLogits
    if top == np.inf:
        scores = np.where(scores == np.inf, np.float32(0.0), np.float32(-np.inf))
    return Usable(scores, top_id, passes)


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
    with np.errstate(over="ignore"):
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
            changed = usable(shortlist.scores)
        except NoUsableLogits as error:
            raise NothingLeft from error
        shortlist.scores, shortlist.top_id = changed.scores, changed.top_id
    if shortlist.params.temperature == 0.0:
        shortlist.keep_top("temperature")
    else:
        shortlist.temperature = max(shortlist.params.temperature, TINY)


def _keep_top_k(shortlist: Shortlist) -> None:
    if 0 < shortlist.params.top_k < shortlist.count:
        shortlist.keep("top-k", shortlist.own.passes.top_k(shortlist.scores_left, shortlist.params.top_k))


def _keep_top_p(shortlist: Shortlist) -> None:
    if shortlist.params.top_p < 1.0 and shortlist.count > 1:
        shortlist.keep("top-p", nucleus(shortlist.weights, shortlist.params.top_p, shortlist.total))


def _drop_below_min_p(shortlist: Shortlist) -> None:
    if shortlist.params.min_p >= TINY and shortlist.count > 1:
        shortlist.keep("min-p", shortlist.at_least(shortlist.params.min_p))


def _drop_what_is_too_small(shortlist: Shortlist) -> None:
    """A low temperature leaves shares that are too small to draw."""
    least = 1.0
    if shortlist.count > 1:
        weights = shortlist.weights
        least = min(weights.tolist()) if len(weights) <= FEW else float(np.minimum.reduce(weights))
    if least <= TINY:
        shortlist.keep("temperature", (shortlist.weights > TINY).nonzero()[0])
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


@lru_cache(maxsize=2)
def _every_id(count: int) -> Ids:
    ids = np.arange(count)
    ids.flags.writeable = False
    return ids


def _are_in(ascending: Ids, ids: Ids) -> list[bool]:
    if len(ascending) <= FEW:
        few = {*ascending.tolist()}
        return [token_id in few for token_id in ids.tolist()]
    return (ascending.take(ascending.searchsorted(ids), mode="clip") == ids).tolist()
