"""Ticks: exact on any range and step."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.sampling import RANGES
from ttchat_tui.ui.widgets.sampling.ticks import Ticks, number_text


@st.composite
def some_ticks(draw: st.DrawFn) -> Ticks:
    """Ranges as people write them: up to four decimals, the step dividing the range or not."""
    decimals = draw(st.integers(0, 4))
    low, span = draw(st.integers(-10_000, 10_000)), draw(st.integers(1, 10_000))
    step = draw(st.integers(1, span))

    def written(number: int) -> float:
        return float(Decimal(number).scaleb(-decimals))

    return Ticks(written(low), written(low + span), written(step))


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(some_ticks(), st.data())
def test_every_tick_comes_back_from_its_value(ticks: Ticks, data: st.DataObject) -> None:
    tick = data.draw(st.integers(0, ticks.last))
    assert ticks.tick(ticks.value(tick)) == tick


@given(some_ticks(), st.data())
def test_every_value_is_the_decimal_one_would_write(ticks: Ticks, data: st.DataObject) -> None:
    tick = data.draw(st.integers(0, ticks.last - 1))
    exact = Decimal(repr(ticks.low)) + tick * Decimal(repr(ticks.step))
    assert ticks.value(tick) == float(exact)
    assert float(f"{ticks.value(tick):.{ticks.decimals}f}") == ticks.value(tick)


@given(some_ticks())
def test_the_ends_are_the_ends(ticks: Ticks) -> None:
    assert ticks.value(0) == ticks.low
    assert ticks.value(ticks.last) == ticks.high
    assert ticks.value(-1) == ticks.low
    assert ticks.value(ticks.last + 1) == ticks.high
    assert ticks.value(ticks.last - 1) < ticks.high


@given(some_ticks(), finite)
def test_the_nearest_tick_is_nearest_and_in_range(ticks: Ticks, value: float) -> None:
    tick = ticks.tick(value)
    assert 0 <= tick <= ticks.last
    distance = abs(ticks.value(tick) - value)
    assert distance <= abs(ticks.value(tick - 1) - value)
    assert distance <= abs(ticks.value(tick + 1) - value)


@given(some_ticks(), finite, st.integers(-300, 300))
def test_a_step_goes_its_way_and_never_past_an_end(ticks: Ticks, value: float, steps: int) -> None:
    moved = ticks.stepped(value, steps)
    assert (moved > value) <= (steps > 0)
    assert (moved < value) <= (steps < 0)
    assert moved == value or ticks.low <= moved <= ticks.high


@given(some_ticks(), st.data())
def test_steps_there_and_back_lead_to_the_same_value(ticks: Ticks, data: st.DataObject) -> None:
    tick = data.draw(st.integers(0, ticks.last))
    steps = data.draw(st.integers(0, ticks.last - tick))
    assert ticks.stepped(ticks.stepped(ticks.value(tick), steps), -steps) == ticks.value(tick)


@given(some_ticks(), st.integers(2, 200), st.data())
def test_a_click_on_a_cell_sets_the_value_that_the_cell_shows(
    ticks: Ticks, cells: int, data: st.DataObject
) -> None:
    assert (ticks.tick_at(0, cells), ticks.tick_at(cells - 1, cells)) == (0, ticks.last)
    cell = data.draw(st.integers(-5, cells + 5))
    value = ticks.value(ticks.tick_at(cell, cells))
    assert ticks.low <= value <= ticks.high
    if ticks.last >= 2 * (cells - 1):
        assert ticks.cell_of(value, cells) == min(max(cell, 0), cells - 1)


def test_a_value_off_the_grid_goes_to_its_neighbours() -> None:
    ticks = Ticks(0.0, 2.0, 0.05)
    assert ticks.stepped(0.73, 1) == 0.75
    assert ticks.stepped(0.73, -1) == 0.7


def test_a_value_outside_the_range_only_comes_back_into_it() -> None:
    ticks = Ticks(0, 200, 1)
    assert ticks.stepped(500, 1) == 500
    assert ticks.stepped(500, -1) == 200
    assert ticks.stepped(-3, -1) == -3
    assert ticks.stepped(-3, 1) == 0


def test_a_hundred_steps_of_five_hundredths_do_not_drift() -> None:
    ticks, value = Ticks(-2.0, 2.0, 0.05), -2.0
    for step in range(1, 81):
        value = ticks.stepped(value, 1)
        assert value == float(f"{-2 + step * 0.05:.2f}")


@pytest.mark.parametrize("name", RANGES)
def test_the_ranges_of_all_parameters_are_whole_numbers_of_steps(name: str) -> None:
    reach = RANGES[name]
    ticks = Ticks(reach.low, reach.high, reach.step)
    assert math.isclose(ticks.value(ticks.last - 1), reach.high - reach.step)


@pytest.mark.parametrize(
    "ends", [(1, 1, 1), (2, 1, 1), (0, 1, 0), (0, 1, -1), (0, math.inf, 1), (math.nan, 1, 1)]
)
def test_an_impossible_range_is_refused(ends: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError):
        Ticks(*ends)


def test_a_number_on_screen_is_exact_or_marked_as_rounded() -> None:
    assert number_text(0.7, 2, 5) == "0.70"
    assert number_text(0.733, 2, 5) == "0.733"
    assert number_text(0.7333333, 2, 5) == "~0.73"
    assert number_text(500, 0, 5) == "500"
