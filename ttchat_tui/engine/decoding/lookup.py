"""Lossless speculation by prompt lookup: text that repeats earlier text takes fewer forwards and stays the same.

The draft is what followed an earlier occurrence of the last ids. One forward runs the sampled id and its draft;
`step` then returns the logits of the draft's rows one by one, as long as the decode loop samples what was drafted. The
loop samples every id itself, from logits after exactly the ids before it: a draft changes when a row is computed, never
what is sampled from it. Source: Saxena, Prompt Lookup Decoding (2023), github.com/apoorvumang/prompt-lookup-decoding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decoding.lookup_context import LookupContext
from ttchat_tui.engine.decoding.lookup_policy import DRAFTS, DraftPolicy
from ttchat_tui.engine.decoding.loop import Stepper

_TIMED_EVERY: Final = 4
"""Forwards of one row, of which one is timed: enough to know the fastest."""


class DraftStepper(Protocol):
    """A stepper that can run several ids in one forward and remove them again."""

    def step_many(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Append `ids` to the KV cache; logits after each, float32 [len(ids), vocab], valid until the next call."""
        ...

    def crop(self, length: int) -> None:
        """Drop all positions from `length` on."""
        ...


class LookupStepper(Stepper):
    """A `Stepper` around another one. What it learns about the model's costs and repetitions lasts across replies.

    The wrapped stepper may be used directly between two replies: `prefill` starts from what its KV cache holds.
    """

    def __init__(
        self,
        stepper: Stepper,
        rows: DraftStepper,
        context_length: int,
        max_rows: int = 1 + DRAFTS[-1],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            stepper: for single ids and prompts.
            rows: for drafts, over the same KV cache; may be the same object.
            max_rows: how many rows give the same logits in one forward as one by one.
        """
        self._stepper = stepper
        self._rows = rows
        self._context_length = context_length
        self._clock = clock
        self._context = LookupContext()
        self._policy = DraftPolicy(max_rows)
        self._draft: list[int] = []
        """Ids in the KV cache that are not sampled yet."""
        self._logits: NDArray[np.float32] = np.empty((0, 0), dtype=np.float32)
        """Logits after each of `_draft`, float32 [len(_draft), vocab]."""
        self._max_draft = max_rows - 1
        self._expected: Sequence[int] = ()
        """Ids from `_expected_at` on that are known before they are sampled."""
        self._expected_at = 0
        self._forwards = 0
        self._untimed = _TIMED_EVERY - 1
        """Forwards since the latest one that was timed."""
        self._is_drafted = False

    @property
    def forwards(self) -> int:
        return self._forwards

    @property
    def is_drafted(self) -> bool:
        return self._is_drafted

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return self._stepper.cached_prefix(ids)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._expected = ()
        self._draft = []  # The cache keeps it: ids that the prompt continues with are not computed again.
        self._forwards = 0
        self._is_drafted = False
        logits = self._stepper.prefill(ids, report)
        self._context.set_ids(ids)
        return logits

    def becomes_long(self, length: int) -> bool:
        return self._stepper.becomes_long(length)

    def expect(self, ids: Sequence[int]) -> None:
        self._expected, self._expected_at = ids, len(self._context)

    def step(self, token_id: int) -> NDArray[np.float32]:
        context = self._context
        match = context.match
        is_right = context.push(token_id)
        if match:
            self._policy.record_guess(match, is_right)
        self._is_drafted = False
        if self._draft:
            if self._draft[0] == token_id:
                self._is_drafted = True
                logits, self._logits = self._logits[0], self._logits[1:]
                del self._draft[0]
                return logits
            self._draft = []
            self._rows.crop(len(context) - 1)
        return self._forward(token_id)

    def _forward(self, token_id: int) -> NDArray[np.float32]:
        """Run the id, followed by a draft if one pays off."""
        draft = self._next_draft()
        self._forwards += 1
        self._untimed += 1
        if not draft and self._untimed < _TIMED_EVERY:
            return self._stepper.step(token_id)
        began_s = self._clock()
        if draft:
            logits = self._rows.step_many([token_id, *draft])
            logits, self._logits, self._draft = logits[0], logits[1:], draft
        else:
            logits = self._stepper.step(token_id)
        self._policy.record_forward(1 + len(draft), self._clock() - began_s, self._untimed)
        self._untimed = 0
        return logits

    def _next_draft(self) -> list[int]:
        """Text that does not repeat gets none with a few operations: a step empties the caches, which makes Python slow."""
        context = self._context
        draft: list[int] = []
        length = len(context)
        room = self._context_length - length
        if self._expected:
            at = length - self._expected_at
            draft = list(self._expected[at : at + min(self._max_draft, room)])
        if not draft and context.match:
            draft = context.guess(min(self._policy.draft_length(context.match), room))
        if draft and self.becomes_long(length + len(draft)) and not self.becomes_long(length):
            return []  # The decode loop has to see the step that makes it long.
        return draft
