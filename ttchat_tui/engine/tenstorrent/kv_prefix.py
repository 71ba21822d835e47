"""Reuse of cached prefixes on the card, and the check that it is correct.

Starting behind a cached prefix is new upstream, and was silently wrong for months: keys and values went to another block.
So each load tests it against full prefills.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.recording import common_prefix
from ttchat_tui.engine.decoding.row import Drawn

ALIGNMENT: Final = 64
"""Positions: whole pages, and the multiple at which upstream's attention keeps its chunk size (tt-metal #54435)."""

_LONG: Final = 1024
"""Remaining ids; more are padded to 2,048 or longer, which needs `_LONG_ALIGNMENT`."""
_LONG_ALIGNMENT: Final = 256

_SHARED, _TRIED = 2 * ALIGNMENT + 2, 3 * ALIGNMENT
"""Ids that the two prompts of the check share, and ids of each prompt."""

PROBE: Final = ", ".join(map(str, range(1, 200)))
"""A text with an obvious continuation, so that rounding does not decide the next token."""


class PrefixStepper(Protocol):
    """The part of `CardStepper` that is tested."""

    reuses_prefix: bool

    def cached_prefix(self, ids: Sequence[int]) -> int: ...

    def prefill(self, ids: Sequence[int], report: _Report) -> NDArray[np.float32]: ...

    def step(self, token_id: int) -> NDArray[np.float32] | Drawn: ...

    def forget(self) -> None: ...


class _Report(Protocol):
    def __call__(self, done: int, total: int, /) -> bool: ...


def reusable_prefix(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many leading ids of a prompt need no prefill: the prefix it shares with `held`, rounded down to a position where
    the card can start. Always fewer than all."""
    start = aligned(min(common_prefix(held, ids), len(ids) - 1), ALIGNMENT)
    return aligned(start, _LONG_ALIGNMENT) if len(ids) - start > _LONG else start


def aligned(position: int, alignment: int) -> int:
    return position // alignment * alignment


def start_for_bucket(bucket: int) -> int:
    """The lowest start for remaining ids that are padded to `bucket`: a shape to compile."""
    return ALIGNMENT if bucket <= _LONG else _LONG_ALIGNMENT


def reuse_is_correct(stepper: PrefixStepper, probe: Sequence[int]) -> bool:
    """Whether a prompt behind a cached prefix continues like the same prompt in full.

    Compares the next two tokens, sampled greedily: the second one depends on the keys and values of the new ids.

    Args:
        probe: ids of `PROBE`; with too few of them the answer is no.
    """
    if len(probe) < _TRIED:
        return False
    tried = list(probe[:_TRIED])
    # Leaves stale values at the positions of the new ids.
    stale = [*tried[:_SHARED], *([tried[0]] * (_TRIED - _SHARED))]
    stepper.forget()
    _prefill(stepper, stale)
    if not stepper.cached_prefix(tried):
        return False
    behind_prefix = _continuation(stepper, tried)
    stepper.forget()
    return behind_prefix == _continuation(stepper, tried)


def _continuation(stepper: PrefixStepper, ids: Sequence[int]) -> tuple[int, int]:
    first = int(_prefill(stepper, ids).argmax())
    following = stepper.step(first)
    return first, following.token_id if isinstance(following, Drawn) else int(following.argmax())


def _prefill(stepper: PrefixStepper, ids: Sequence[int]) -> NDArray[np.float32]:
    return stepper.prefill(ids, lambda done, total: True)
