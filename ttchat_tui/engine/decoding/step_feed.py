"""What the sampler's preview gets of a reply's steps while it is open."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import StepScores
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.rules import usable
from ttchat_tui.engine.decoding.sampler import History
from ttchat_tui.engine.decoding.selection import Ids, highest
from ttchat_tui.engine.decoding.token_bias import TokenBias

EVERY_S: Final = 1 / 12
"""Least time between two steps that are sent: the screen draws 12 times a second, and shows the newest step only."""

_LISTED: Final = 256
"""Tokens whose bytes are sent with a step: more than the preview lists."""


class SampledStep(NamedTuple):
    """A token, drawn or chosen, and what it was drawn from."""

    at: int
    token_id: int
    logits: NDArray[np.float32]
    """Valid until the next step."""
    history: History
    """With the token."""
    bias: TokenBias
    allowed: NDArray[np.bool_] | None
    """What the constraint allowed; None: everything."""


class StepFeed:
    """The steps of one row. A step that is not sent yet is kept until the next one."""

    def __init__(self, job: ReplyJob) -> None:
        self._job = job
        self._newest: SampledStep | None = None
        self._copy = np.empty(0, dtype=np.float32)
        self._sent_s = -math.inf
        self._sent_pieces = set[int]()

    def take(self, step: SampledStep) -> None:
        self._newest = step

    def replace(self, token_id: int) -> None:
        """The user has chosen another token in the place of the newest one."""
        if self._newest is not None:
            self._newest = self._newest._replace(token_id=token_id)

    def next(self, *, is_last: bool) -> StepScores | None:
        """The newest step, if it is to be sent now. `is_last`: no other step follows, or none soon."""
        step = self._newest
        if step is None or not self._job.control.is_previewed:
            return None
        now_s = self._job.now_s()
        # Below 0: sent in a pause, whose time the clock leaves out once it has ended.
        if not is_last and 0 <= now_s - self._sent_s < EVERY_S:
            return None
        self._newest, self._sent_s = None, now_s
        return self._scores(step)

    def before_step(self) -> None:
        """The model's next step, in which the reply may be cancelled, overwrites the logits of a step that is not sent."""
        step = self._newest
        if step is None:
            return
        if not self._job.control.is_previewed:
            self._newest = None
            return
        if len(self._copy) != len(step.logits):
            self._copy = np.empty_like(step.logits)
        np.copyto(self._copy, step.logits)
        self._newest = step._replace(logits=self._copy)

    def _scores(self, step: SampledStep) -> StepScores:
        seen = step.history.before(step.token_id)
        return StepScores(
            request_id=self._job.request.id,
            at=step.at,
            token_id=step.token_id,
            logits=step.logits.astype("<f4", copy=False).tobytes(),
            seen_ids=_int32(seen.seen_ids),
            reply_ids=_int32(seen.reply_ids),
            reply_counts=_int32(seen.reply_counts),
            bias_ids=_int32(step.bias.ids),
            bias_amounts=step.bias.amounts.astype("<f4").tobytes(),
            allowed=b"" if step.allowed is None else np.packbits(step.allowed).tobytes(),
            pieces=self._new_pieces(step, seen.seen_ids),
        )

    def _new_pieces(self, step: SampledStep, seen_ids: Ids) -> dict[int, bytes]:
        """Of what the preview can list: the most probable tokens, and of those that a penalty below zero makes more probable
        the first ones."""
        scores = usable(step.logits).scores
        likely = highest(scores, _LISTED).tolist()
        if step.allowed is not None:
            scores = np.where(step.allowed, scores, np.float32(-np.inf))
            likely += highest(scores, _LISTED).tolist()
        likely_seen = seen_ids[highest(scores[seen_ids], _LISTED // 4)].tolist()
        new = {step.token_id, *likely, *likely_seen, *step.bias.ids.tolist()} - self._sent_pieces
        self._sent_pieces |= new
        return {token_id: self._job.piece_of(token_id) for token_id in new}


def _int32(numbers: NDArray[np.intp] | NDArray[np.int32]) -> bytes:
    return numbers.astype("<i4").tobytes()
