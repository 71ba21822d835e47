"""Which part of a prompt the card's KV cache holds already, and whether the card gets it right.

Starting behind a cached prefix is new upstream, and was wrong there for months: keys and values went to another block,
and nothing said so. So it is tried at load, against full prefills.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decoding.row import Drawn

ALIGNMENT: Final = 64
"""Positions: whole pages, and what upstream's attention starts at without shrinking its chunks (tt-metal #54435)."""

_LONG: Final = 1024
"""Ids that remain; more of them are padded to 2,048 or longer, which wants `_LONG_ALIGNMENT`."""
_LONG_ALIGNMENT: Final = 256

_SHARED, _TRIED = 2 * ALIGNMENT + 2, 3 * ALIGNMENT
"""Ids that the check's two prompts have in common, and that each of them has."""

PROBE: Final = ", ".join(map(str, range(1, 200)))
"""A text whose continuation leaves no doubt: rounding must not decide what comes next."""


class PrefixStepper(Protocol):
    """What of `CardStepper` is tried."""

    reuses_prefix: bool

    def cached_prefix(self, ids: Sequence[int]) -> int: ...

    def prefill(self, ids: Sequence[int], report: _Report) -> NDArray[np.float32]: ...

    def step(self, token_id: int) -> NDArray[np.float32] | Drawn: ...

    def forget(self) -> None: ...


class _Report(Protocol):
    def __call__(self, done: int, total: int, /) -> bool: ...


def reusable_prefix(held: Sequence[int], ids: Sequence[int]) -> int:
    """How many leading ids of a prompt need no prefill: those that `held` begins with as well, down to a position that
    the card can start from; fewer than all."""
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(held, ids, strict=False)))
    start = aligned(min(common, len(ids) - 1), ALIGNMENT)
    return aligned(start, _LONG_ALIGNMENT) if len(ids) - start > _LONG else start


def aligned(position: int, alignment: int) -> int:
    return position // alignment * alignment


def start_for_bucket(bucket: int) -> int:
    """Where a prefill may start whose remaining ids are padded to `bucket`: a shape to compile."""
    return ALIGNMENT if bucket <= _LONG else _LONG_ALIGNMENT


def reuse_is_correct(stepper: PrefixStepper, probe: Sequence[int]) -> bool:
    """Whether a prompt behind a cached prefix goes on as the same prompt in full: the most probable token after it,
    and the one after that, for which the new keys and values are read back.

    Args:
        probe: ids of `PROBE`; too few of them to try are not right.
    """
    if len(probe) < _TRIED:
        return False
    tried = list(probe[:_TRIED])
    stale = [*tried[:_SHARED], *([tried[0]] * (_TRIED - _SHARED))]  # Lies where the new ones belong.
    stepper.forget()
    _prefill(stepper, stale)
    if not stepper.cached_prefix(tried):
        return False
    said = _continuation(stepper, tried)
    stepper.forget()
    return said == _continuation(stepper, tried)


def _continuation(stepper: PrefixStepper, ids: Sequence[int]) -> tuple[int, int]:
    first = int(_prefill(stepper, ids).argmax())
    following = stepper.step(first)
    return first, following.token_id if isinstance(following, Drawn) else int(following.argmax())


def _prefill(stepper: PrefixStepper, ids: Sequence[int]) -> NDArray[np.float32]:
    return stepper.prefill(ids, lambda done, total: True)
