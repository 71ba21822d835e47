"""The highest of many scores, exactly and without sorting the whole vocabulary.

A token costs some forty calls of numpy on short arrays: where a ufunc, a method and a function do the same, the first in this
order is the quickest.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.intp]

TINY: Final = 2.0**-126
"""Smallest normal float32: the lowest temperature, and the weight of a score that is too low to be drawn (also of -inf)."""

FEW: Final = 64
"""So many numbers are added, sorted and compared in Python: a reduction of numpy takes 25 µs of a step, since its code is in no cache."""
_FEW_WEIGHTS: Final = 256
"""The same for the nucleus, which takes numpy more calls."""


def highest(
    scores: Floats,
    count: int,
    likely: Ids | None = None,
    search: Callable[[Floats, int], Ids] | None = None,
) -> Ids:
    """Positions of the `count` highest scores, highest first; without those at -inf. `likely`: `count` positions or more;
    the higher their scores, the less there is to search. `search`: a `top_k`."""
    if likely is not None:
        near = (scores >= _kth_highest(scores[likely], count)).nonzero()[0]
    else:
        near = (search or top_k)(scores, count) if len(scores) > count else np.arange(len(scores))
    return ranked(scores, near)[:count]


def ranked(scores: Floats, ids: Ids) -> Ids:
    """Ascending `ids` by score, highest first; without those at -inf."""
    values = scores[ids]
    if len(ids) <= FEW:
        few = values.tolist()
        order = sorted(range(len(few)), key=few.__getitem__, reverse=True)  # which is stable
        return ids[[place for place in order if few[place] > -math.inf]]
    order = (-values).argsort(kind="stable")
    return ids[order[values[order] > -np.inf]]


def top_k(scores: Floats, k: int) -> Ids:
    """Positions of the `k` highest scores, ascending. Of equal scores at the edge the lower ids stay."""
    near = (scores >= _kth_highest_at_least(scores, k)).nonzero()[0]
    values = scores[near]
    return near[_down_to(_kth_highest(np.array(values), k), values, k)]


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
    maxima = np.maximum.reduce(scores[: width * groups].reshape(width, groups))
    return float(_kth_highest(maxima, k))


def _kth_highest(values: Floats, k: int) -> np.float32:
    """The k-th highest value. Changes the order of `values`."""
    values.partition(len(values) - k)
    return values[len(values) - k]


def nucleus(weights: Floats, top_p: float, total: float) -> Ids:
    """Positions, ascending, of the smallest set of top weights that holds at least `top_p` of the total, where the largest
    weight is 1. Of equal weights at the edge the lower ids stay."""
    # No weight of the set is below (1 - top_p) / n = 2**-19, so that their sums are exact in double precision, in any order:
    # both ways find the same set.
    if len(weights) <= _FEW_WEIGHTS and top_p <= 1 - 2.0**-10:
        return _nucleus_of_few(weights.tolist(), top_p * total)
    return _nucleus_of_many(weights, top_p, total)


def _nucleus_of_few(weights: list[float], target: float) -> Ids:
    descending = sorted(weights, reverse=True)
    count = bisect_left(list(accumulate(descending)), target) + 1
    edge = descending[count - 1]
    kept = [position for position, weight in enumerate(weights) if weight >= edge]
    if len(kept) > count:
        ties = [position for position in kept if weights[position] == edge]
        kept = sorted({*kept} - {*ties[count - len(kept) :]})
    return np.array(kept, dtype=np.intp)


def _nucleus_of_many(weights: Floats, top_p: float, total: float) -> Ids:
    """Instead of sorting: (1) drop weights below (1 - top_p) / n of the total, since all of them together cannot make up
    1 - top_p; (2) sum the rest into bins by the leading bits of the float, which sort as the weights do; (3) sort only the
    bin in which the sum passes top_p.
    """
    target = top_p * total
    near = (weights >= max((1.0 - top_p) * total / len(weights), TINY)).nonzero()[0]
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
