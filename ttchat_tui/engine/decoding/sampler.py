"""Host sampler: logits → token, by the rules of `rules.py`."""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import ALTERNATIVES, Distribution, packed_columns
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.passes import BLOCK, NUMPY, Passes, log_of, units_of, units_of_few
from ttchat_tui.engine.decoding.rules import Seen, Shortlist, Usable, applied, drawable, usable
from ttchat_tui.engine.decoding.selection import FEW, Floats, Ids, highest, ranked
from ttchat_tui.engine.decoding.token_bias import NO_BIAS, TokenBias


class Sampled(NamedTuple):
    """One drawn token."""

    token_id: int
    logprob: float
    """Natural log of its probability in the model's own distribution: no penalty, temperature 1, no truncation."""


class SeenTokens(NamedTuple):
    """See `rules.Seen`."""

    seen_ids: Ids
    reply_ids: Ids
    reply_counts: NDArray[np.int32]


class History:
    """The tokens of a prompt and of the reply so far, as the penalties count them.

    Ids outside the vocabulary (padding of the embedding) are ignored, since the model cannot produce them.
    """

    def __init__(self, vocab_size: int, prompt_ids: Sequence[int] = ()) -> None:
        prompt = np.unique(np.asarray(prompt_ids, dtype=np.intp))
        prompt = prompt[(prompt >= 0) & (prompt < vocab_size)]
        self._all_counts = np.zeros(vocab_size, dtype=np.int32)
        is_seen = np.zeros(vocab_size, dtype=np.bool_)
        is_seen[prompt] = True
        self._all_seen = np.empty(vocab_size, dtype=np.intp)
        self._all_seen[: len(prompt)] = prompt
        self._all_replied = np.empty(vocab_size, dtype=np.intp)
        # For single numbers: numpy takes three times as long.
        self._counts, self._is_seen = self._all_counts.data, is_seen.data
        self._seen, self._replied = self._all_seen.data, self._all_replied.data
        self._n_seen = self._n_prompt = len(prompt)
        self._n_replied = 0
        self._before_last = (self._n_seen, 0)
        """Numbers of seen and of replied ids before the last token was added."""

    def add(self, token_id: int) -> None:
        """Count one more token of the reply."""
        self._before_last = (self._n_seen, self._n_replied)
        if self._counts[token_id] == 0:
            self._replied[self._n_replied] = token_id
            self._n_replied += 1
        self._counts[token_id] += 1
        if not self._is_seen[token_id]:
            self._is_seen[token_id] = True
            self._seen[self._n_seen] = token_id
            self._n_seen += 1

    def take_back(self, token_id: int) -> None:
        """Forget `token_id`, which was added last."""
        self._counts[token_id] -= 1
        if self._counts[token_id]:
            return
        self._n_replied -= 1
        if self._n_seen > self._n_prompt and self._seen[self._n_seen - 1] == token_id:
            self._n_seen -= 1
            self._is_seen[token_id] = False

    def before(self, last_id: int) -> SeenTokens:
        """What it was before `last_id` was added last. Copies."""
        n_seen, n_replied = self._before_last
        reply_ids: Ids = np.array(self._all_replied[:n_replied])
        counts = self._all_counts[reply_ids]
        counts[reply_ids == last_id] -= 1
        return SeenTokens(np.array(self._all_seen[:n_seen]), reply_ids, counts)

    @property
    def seen_ids(self) -> Ids:
        """Distinct ids of prompt and reply. A read-only view."""
        return self._all_seen[: self._n_seen]

    @property
    def reply_ids(self) -> Ids:
        """Distinct ids of the reply. A read-only view."""
        return self._all_replied[: self._n_replied]

    @property
    def reply_counts(self) -> NDArray[np.int32]:
        """How often each of `reply_ids` occurs in the reply."""
        return self._all_counts[self.reply_ids]


class Sampler:
    """Draws the tokens of one reply.

    Each token uses one uniform number, also a greedy one and one that the user chooses. So the i-th token depends only on
    the seed, on i, and on its own logits and parameters: a parameter changed and changed back leaves later draws as they
    were. The numbers are the raw words of a Philox generator, which numpy keeps stable between versions (NEP 19).
    """

    def __init__(
        self, vocab_size: int, seed: int, prompt_ids: Sequence[int] = (), passes: Passes = NUMPY
    ) -> None:
        self.history = History(vocab_size, prompt_ids)
        self._passes = passes
        self._bits = np.random.Philox(seed)

    def sample(
        self,
        logits: Floats,
        params: SamplingParams,
        bias: TokenBias = NO_BIAS,
        allowed: NDArray[np.bool_] | None = None,
        *,
        chosen: int | None = None,
    ) -> Sampled:
        """Draw the next token from `logits`, float32 [vocab], and count it in the history. `logits` do not change. `bias` is
        that of `params`, in ids. `allowed`, bool [vocab]: what a constraint allows; None: all. `chosen`: the token that the
        user has chosen in place of the one that is drawn.

        Tokens at NaN or -inf cannot be drawn; if there is a +inf, only tokens at +inf can.

        Raises:
            NoUsableLogits: no token can be drawn.
        """
        own = usable(logits, self._passes)
        token_id = self._take(drawable(own, params, self.history, bias, allowed), chosen)
        return Sampled(token_id, float(own.scores[token_id]) - _log_total(own))

    @np.errstate(over="ignore")  # of log-probabilities beyond float32
    def sample_recorded(
        self,
        logits: Floats,
        params: SamplingParams,
        bias: TokenBias = NO_BIAS,
        allowed: NDArray[np.bool_] | None = None,
        *,
        chosen: int | None = None,
        with_alternatives: bool,
    ) -> tuple[Sampled, Distribution]:
        """`sample`, and what a recording keeps of the model's own distribution. `bias`, `chosen`: as in
        `sample`. Raises NoUsableLogits."""
        own = usable(logits, self._passes)
        scores = own.scores
        shortlist = applied(own, params, self.history, bias, allowed)
        token_id = self._take(shortlist, chosen)
        log_total, entropy = _log_total_and_entropy(own)
        top = _most_probable(shortlist)
        ids: list[int] = top.tolist()
        logprobs: list[float] = (scores[top] - log_total).tolist() if with_alternatives else []
        distribution = Distribution(
            rank=ids.index(token_id) if token_id in ids else _rank(scores, token_id),
            entropy=entropy,
            alternatives=packed_columns(ids, logprobs, shortlist.cuts_of(top)) if with_alternatives else b"",
        )
        return Sampled(token_id, float(scores[token_id]) - log_total), distribution

    def _take(self, shortlist: Shortlist, chosen: int | None) -> int:
        uniform = (int(self._bits.random_raw()) >> 11) * 2.0**-53
        token_id = draw(shortlist, uniform) if chosen is None else chosen
        self.history.add(token_id)
        return token_id


def distribution(
    logits: Floats, params: SamplingParams, seen: Seen, bias: TokenBias = NO_BIAS
) -> tuple[Ids, NDArray[np.float64]]:
    """The distribution of the next token: the remaining ids and their probabilities, most probable first.

    The probabilities sum to 1; equal ones are in order of id. Neither `logits` nor `seen` changes.

    Raises:
        NoUsableLogits: no token can be drawn.
    """
    shortlist = applied(usable(logits), params, seen, bias)
    ids = shortlist.left
    assert ids is not None
    order = np.lexsort((ids, -shortlist.weights))
    probabilities = shortlist.weights[order].astype(np.float64)
    return ids[order], probabilities / probabilities.sum()


def draw(shortlist: Shortlist, uniform: float) -> int:
    """The id at `uniform` (0 ≤ uniform < 1) of the cumulative weights, in two steps: find the block, then the id in it."""
    ids, begin, target = shortlist.left, 0, int(uniform * 2**53)
    if ids is not None and len(ids) == 1:
        return int(ids[0])
    if ids is not None and len(ids) <= FEW:
        few = list(accumulate(units_of_few(shortlist.weights)))
        return int(ids[bisect_right(few, target * few[-1] >> 53)])
    if shortlist.count <= BLOCK:
        inside = units_of(shortlist.weights).cumsum()
        target = target * int(inside[-1]) >> 53
    else:
        sums = shortlist.sums
        target = target * int(sums[-1]) >> 53
        block = int(sums.searchsorted(target, "right"))
        begin, target = block * BLOCK, target - int(sums[block - 1]) if block else target
        inside = units_of(shortlist.weights_at(begin, begin + BLOCK)).cumsum()
    position = begin + int(inside.searchsorted(target, "right"))
    return position if ids is None else int(ids[position])


def _log_total(own: Usable) -> float:
    """Natural log of the sum of exp(scores): a score minus it is a log-probability."""
    return float(own.top) + log_of(int(own.sums[-1]))


def _log_total_and_entropy(own: Usable) -> tuple[float, float]:
    """`_log_total`, and the entropy in nats: log Z minus the mean score, both without the highest score."""
    total = int(own.sums[-1])
    log_total = log_of(total)
    weighted = own.passes.weighted_sum(own.scores, own.top)
    return float(own.top) + log_total, max(0.0, log_total - weighted / total)


def _most_probable(shortlist: Shortlist) -> Ids:
    """The ids of the model's highest scores, highest first, at most `ALTERNATIVES`; without those at -inf."""
    scores, first = shortlist.own.scores, shortlist.stages[0]
    if first.rule != "top-k" or len(first.ids) < ALTERNATIVES:
        return highest(scores, ALTERNATIVES, search=shortlist.own.passes.top_k)
    if shortlist.is_changed:
        return highest(scores, ALTERNATIVES, likely=first.ids)
    return ranked(scores, first.ids)[:ALTERNATIVES]


def _rank(scores: Floats, token_id: int) -> int:
    """How many tokens come before this one."""
    score = scores[token_id]
    return int(np.count_nonzero(scores > score)) + int(np.count_nonzero(scores[:token_id] == score))
