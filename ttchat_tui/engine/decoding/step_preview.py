"""One step under any settings, without generating anything: what the sampler's own rules do to its scores.

It runs in the app's process, which loads numpy with it: only while the preview is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import StepScores
from ttchat_tui.domain.recording import Alternative, Cut
from ttchat_tui.domain.sampler_view import Rest, SamplerView, ShownToken
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.rules import Seen, Shortlist, applied, usable
from ttchat_tui.engine.decoding.sampler import SeenTokens, draw
from ttchat_tui.engine.decoding.selection import Floats, Ids, highest
from ttchat_tui.engine.decoding.token_bias import NO_BIAS, TokenBias


class StepPreview:
    """The scores of one step, of the whole vocabulary or of the tokens that were recorded."""

    def __init__(
        self,
        scores: Floats,
        seen: Seen,
        ids: Ids | None = None,
        bias: TokenBias = NO_BIAS,
        allowed: NDArray[np.bool_] | None = None,
    ) -> None:
        """`ids`: of the tokens with these scores; None: all, from 0. `seen` has places in `scores`. `bias` and `allowed` are
        those of the step (`rules.applied`): the texts of another bias get their ids in the engine, with the next token.

        Raises:
            NoUsableLogits: no token can be drawn.
        """
        self._own = usable(scores)
        self._seen = seen
        self._ids = ids
        self._bias = bias
        self._allowed = allowed

    @classmethod
    def of(cls, step: StepScores) -> StepPreview:
        seen = SeenTokens(
            _numbers(step.seen_ids), _numbers(step.reply_ids), np.frombuffer(step.reply_counts, "<i4")
        )
        logits = np.frombuffer(step.logits, "<f4")
        bias = TokenBias(_numbers(step.bias_ids), np.frombuffer(step.bias_amounts, "<f4"))
        allowed = None
        if step.allowed:
            bits = np.frombuffer(step.allowed, np.uint8)
            allowed = np.unpackbits(bits, count=len(logits)).astype(np.bool_)
        return cls(logits, seen, bias=bias, allowed=allowed)

    @classmethod
    def of_recorded(cls, alternatives: Sequence[Alternative], reply_ids: Sequence[int]) -> StepPreview:
        """Of an earlier step, with what is known: its alternatives and the ids of the reply before it. The prompt's are not,
        so that the repetition penalty counts the reply only. What a constraint cut then is cut now, whatever is set."""
        place_of = {each.token_id: place for place, each in enumerate(alternatives)}
        counts = Counter(place_of[token_id] for token_id in reply_ids if token_id in place_of)
        places = np.array(sorted(counts), dtype=np.intp)
        seen = SeenTokens(places, places, np.array([counts[place] for place in sorted(counts)], np.int32))
        scores = np.array([each.logprob for each in alternatives], dtype=np.float32)
        allowed = np.array([each.cut != "constraint" for each in alternatives], dtype=np.bool_)
        ids = np.array(list(place_of), dtype=np.intp)
        return cls(scores, seen, ids, allowed=None if allowed.all() else allowed)

    def under(self, params: SamplingParams, lines: int) -> SamplerView:
        """What these settings do, in at most `lines` tokens and rests. Raises NoUsableLogits."""
        shortlist = self._shortlist(params)
        kept = shortlist.left
        assert kept is not None
        weights = shortlist.weights_before_cuts
        total, kept_weight = _sum(weights), _sum(weights[kept])
        listed = highest(shortlist.scores, max(1, lines - len({each.rule for each in shortlist.stages}) - 1))
        cuts = shortlist.cuts_of(listed)
        tokens = [
            ShownToken(token_id, weight / (kept_weight if cut == "kept" else total), cut)
            for token_id, weight, cut in zip(
                self._named(listed).tolist(), weights[listed].tolist(), cuts, strict=True
            )
        ]
        return SamplerView(
            tokens=tokens,
            rests=_rests(shortlist, tokens, weights, total),
            kept=len(kept),
            kept_mass=kept_weight / total,
            total=len(weights),
        )

    def draws(self, params: SamplingParams, uniforms: Sequence[float]) -> dict[int, int]:
        """How often each token is drawn with these numbers (0 ≤ each < 1), the most frequent first. Raises NoUsableLogits."""
        shortlist = self._shortlist(params)
        drawn = np.array([draw(shortlist, uniform) for uniform in uniforms], dtype=np.intp)
        ids: list[int] = self._named(drawn).tolist()
        return dict(Counter(ids).most_common())

    def _shortlist(self, params: SamplingParams) -> Shortlist:
        return applied(self._own, params, self._seen, self._bias, self._allowed)

    def _named(self, places: Ids) -> Ids:
        return places if self._ids is None else self._ids[places]


def _rests(shortlist: Shortlist, tokens: Sequence[ShownToken], weights: Floats, total: float) -> list[Rest]:
    """What each rule has cut and what is kept, without the listed tokens."""
    counts: dict[Cut, int] = {"kept": 0}
    masses: dict[Cut, float] = {"kept": 0.0}
    count, mass = len(weights), 1.0
    for stage in shortlist.stages:
        left = _sum(weights[stage.ids]) / total
        counts[stage.rule] = counts.get(stage.rule, 0) + count - len(stage.ids)
        masses[stage.rule] = masses.get(stage.rule, 0.0) + mass - left
        count, mass = len(stage.ids), left
    counts["kept"], masses["kept"] = count, 1.0
    for token in tokens:
        counts[token.cut] -= 1
        masses[token.cut] -= token.share
    return [
        Rest(cut, tokens_left, max(0.0, masses[cut])) for cut, tokens_left in counts.items() if tokens_left
    ]


def _sum(weights: Floats) -> float:
    return float(weights.sum(dtype=np.float64))


def _numbers(data: bytes) -> NDArray[np.intp]:
    return np.frombuffer(data, "<i4").astype(np.intp)
