"""Passes over the scores of a vocabulary: the highest ones; weights, exp((score - top) / temperature); and sums of weights.

A weight is made by single operations of float32 in a fixed order, and sums are those of whole numbers, which have no order: all
`Passes` give the same bits.
"""
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.decoding.selection import TINY, Floats, Ids, top_k

Units: TypeAlias = NDArray[np.int64]

BLOCK: Final = 256
"""Neighbouring weights between two sums."""
_LEAST_POWER: Final = np.float32(math.log2(TINY))
_UNIT_BITS: Final = 44
"""A unit is 2**-44: the weights of half a million tokens have less than 2**63 of them."""
UNITS: Final = 2.0**_UNIT_BITS
"""In a weight of 1."""
_ROUNDER: Final = 1.5 * 2.0 ** (52 - _UNIT_BITS)
"""Added to a weight in double precision it makes the last bit a unit."""
_ROUNDER_BITS: Final = int(np.float64(_ROUNDER).view(np.int64))
_NOTHING: Final = np.float32(-200.0)
_WHOLE: Final = np.float32(1.5 * 2.0**23)
"""The same for whole numbers in single precision."""
_POWER_OF_2: Final = np.array([0.0013264727, 0.009671513, 0.055507336, 0.24022242, 0.693147, 1.0], np.float32)
"""Coefficients of the minimax polynomial of degree 5 for 2^x from -0.5 to 0.5, the highest first; its relative error is 2e-7."""


class Passes(Protocol):
    """An engine may offer faster ones than numpy's."""

    def top_id(self, scores: Floats) -> int:
        """The position of the first highest score. A NaN counts as the highest."""
        ...

    def weights(self, scores: Floats, top: np.float32, temperature: float) -> Floats:
        """exp((scores - top) / temperature), at least `TINY`. `scores` have no NaN, and none is above `top`; `temperature` is
        `TINY` or more."""
        ...

    def sums(
        self, scores: Floats, top: np.float32, temperature: float, weights: Floats | None = None
    ) -> Units:
        """Sums of these weights, in units, up to the end of each block: the last one is the total. `weights`: where they are
        made already."""
        ...

    def weighted_sum(self, scores: Floats, top: np.float32) -> int:
        """The sum of weight * (score - top) at temperature 1, in units. Lower scores count as 200 below the highest: their weight is
        nothing."""
        ...

    def top_k(self, scores: Floats, k: int) -> Ids:
        """Positions of the `k` highest scores, ascending; there are more than `k`, without NaN. Of equal scores at the edge the
        lower ids stay."""
        ...


class NumpyPasses:
    """`Passes` in numpy."""

    def top_id(self, scores: Floats) -> int:
        return int(scores.argmax())

    def weights(self, scores: Floats, top: np.float32, temperature: float) -> Floats:
        with np.errstate(over="ignore"):  # Beyond float32 is -inf, whose weight is `TINY`.
            powers = scores - top
            powers *= factor_of(temperature)
        np.maximum(powers, _LEAST_POWER, out=powers)
        rounded = powers + _WHOLE
        powers -= rounded - _WHOLE
        weights = powers * _POWER_OF_2[0]
        for coefficient in _POWER_OF_2[1:-1]:
            weights += coefficient
            weights *= powers
        weights += _POWER_OF_2[-1]
        # The last bits of `rounded` are the whole part of the power, which belongs into the exponent.
        exponents = rounded.view(np.int32)
        exponents <<= 23
        weights.view(np.int32)[...] += exponents
        return weights

    def sums(
        self, scores: Floats, top: np.float32, temperature: float, weights: Floats | None = None
    ) -> Units:
        units = units_of(self.weights(scores, top, temperature) if weights is None else weights)
        return np.add.reduceat(units, np.arange(0, len(units), BLOCK)).cumsum()

    def weighted_sum(self, scores: Floats, top: np.float32) -> int:
        with np.errstate(over="ignore"):
            shifted = scores - top
        np.maximum(shifted, _NOTHING, out=shifted)
        shifted *= self.weights(scores, top, 1.0)
        return int(np.add.reduce(units_of(shifted)))

    def top_k(self, scores: Floats, k: int) -> Ids:
        return top_k(scores, k)


NUMPY: Final = NumpyPasses()


def factor_of(temperature: float) -> np.float32:
    """What a difference of scores is multiplied with to get a power of 2."""
    return np.float32(math.log2(math.e) / temperature)


def units_of(weights: Floats) -> Units:
    """Weights in units, rounded to even."""
    rounded = weights.astype(np.float64)
    rounded += _ROUNDER
    units = rounded.view(np.int64)
    units -= _ROUNDER_BITS
    return units


def units_of_few(weights: Floats) -> list[int]:
    """As `units_of`; up to a hundred are made faster in Python."""
    return [round(weight * UNITS) for weight in weights.tolist()]


def log_of(units: int) -> float:
    """Natural logarithm of a sum of weights."""
    return math.log(units) - _UNIT_BITS * math.log(2.0)
