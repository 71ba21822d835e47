"""The arithmetic of a slider: a range divided into ticks, in exact fractions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property


@dataclass(frozen=True)
class Ticks:
    """The values `low`, `low + step`, …, `high`, numbered from 0; the last step may be shorter.

    Floats are read as the decimals that they print as (0.1 is one tenth), and each value is computed directly from its
    number: `value(tick(v)) == v` for every value on the grid.

    Raises:
        ValueError: the range is empty, the step is not positive, or a number is not finite.
    """

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.low, self.high, self.step))):
            raise ValueError("a range and its step must be finite")
        if self.low >= self.high or self.step <= 0:
            raise ValueError(f"no ticks from {self.low} to {self.high} in steps of {self.step}")

    @cached_property
    def _low(self) -> Fraction:
        return Fraction(repr(self.low))

    @cached_property
    def _step(self) -> Fraction:
        return Fraction(repr(self.step))

    @cached_property
    def last(self) -> int:
        """The number of the last tick, whose value is `high`."""
        return math.ceil((Fraction(repr(self.high)) - self._low) / self._step)

    @cached_property
    def decimals(self) -> int:
        """Digits after the point that distinguish all values."""
        return max(_decimals(number) for number in (self.low, self.high, self.step))

    def value(self, tick: int) -> float:
        """The value of a tick, limited to the range."""
        if tick >= self.last:
            return self.high
        return float(self._low + max(tick, 0) * self._step)

    def tick(self, value: float) -> int:
        """The tick nearest to `value`, which may lie off the grid or outside the range."""
        if value >= self.high:
            return self.last
        if value <= self.low:
            return 0
        below = math.floor((Fraction(repr(value)) - self._low) / self._step)
        return below if value - self.value(below) <= self.value(below + 1) - value else below + 1

    def stepped(self, value: float, ticks: int) -> float:
        """`value` moved by `ticks`. A value off the grid first moves onto it; the ends of the range are not passed.

        A value outside the range only moves towards it.
        """
        if ticks > 0:
            return value if value >= self.high else self.value(self._at_or_below(value) + ticks)
        if ticks < 0:
            return value if value <= self.low else self.value(self._at_or_above(value) + ticks)
        return value

    def _at_or_below(self, value: float) -> int:
        tick = self.tick(value)
        return tick if self.value(tick) <= value else tick - 1

    def _at_or_above(self, value: float) -> int:
        tick = self.tick(value)
        return tick if self.value(tick) >= value else tick + 1

    def tick_at(self, cell: int, cells: int) -> int:
        """The tick in `cell` of a track `cells` wide; cells outside the track mean its ends."""
        if cells < 2:
            return 0
        cell = min(max(cell, 0), cells - 1)
        return math.floor(Fraction(cell * self.last, cells - 1) + Fraction(1, 2))

    def cell_of(self, value: float, cells: int) -> int:
        """The cell of `value` on a track `cells` wide; values outside the range are at its ends."""
        if cells < 2:
            return 0
        return math.floor(Fraction(self.tick(value) * (cells - 1), self.last) + Fraction(1, 2))


def _decimals(number: float) -> int:
    exponent = Decimal(repr(number)).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def number_text(value: float, decimals: int, width: int) -> str:
    """`value` with at least `decimals` digits after the point; with all its digits if they fit into `width`.

    A rounded number starts with "~".
    """
    text = f"{value:.{decimals}f}"
    if float(text) == value:
        return text
    exact = repr(value)
    return exact if len(exact) <= width else f"~{text}"
