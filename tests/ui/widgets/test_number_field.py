"""NumberField: whole numbers, with or without a word for none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.ui.widgets.sampling.number_field import NumberField

HIGHEST_SEED = 2**63 - 1


def seed(value: int | None = None) -> NumberField:
    return NumberField("seed", value, low=0, high=HIGHEST_SEED, none_text="random", name="seed")


def max_tokens(value: int = 1024) -> NumberField:
    return NumberField("max tokens", value, low=1, high=1_048_576, step=64, default=1024, name="max_tokens")


def values(app: ControlsApp) -> list[int | None]:
    return [message.value for message in app.heard if isinstance(message, NumberField.Changed)]


@pytest.mark.parametrize(
    ("field", "keys", "value"),
    [
        (seed(), ["4", "2", "enter"], 42),
        (seed(42), ["enter", "ctrl+u", "enter"], None),
        (seed(42), ["backspace"], None),
        (seed(), ["right"], 0),
        (seed(0), ["left"], None),
        (seed(7), ["left"], 6),
        (seed(7), ["home"], 0),
        (seed(7), ["end"], HIGHEST_SEED),
        (max_tokens(), ["right"], 1088),
        (max_tokens(), ["left"], 960),
        (max_tokens(1000), ["right"], 1024),
        (max_tokens(1000), ["left"], 960),
        (max_tokens(), ["shift+right"], 1664),
        (max_tokens(64), ["left"], 1),
        (max_tokens(5), ["delete"], 1024),
        (max_tokens(), [*"512", "enter"], 512),
        (max_tokens(), ["enter", *"512", "enter"], 512),
    ],
)
async def test_keys_step_type_and_reset_the_number(
    field: NumberField, keys: list[str], value: int | None
) -> None:
    app = ControlsApp(field)
    async with app.run_test(size=(30, 3)) as pilot:
        field.focus()
        await pilot.press(*keys)
        await pilot.pause()
        assert values(app) == [value]
        assert app.heard == [NumberField.Changed(field, field.name or "", value)]


@pytest.mark.parametrize(
    ("typed", "field"), [("0", max_tokens()), ("", max_tokens()), ("99999999", max_tokens())]
)
async def test_a_number_out_of_range_is_rejected(typed: str, field: NumberField) -> None:
    app = ControlsApp(field)
    async with app.run_test(size=(40, 3)) as pilot:
        field.focus()
        await pilot.press("enter", "ctrl+u", *typed, "enter")
        await pilot.pause()
        assert field.has_class("-rejected")
        assert "must be 1 to 1M" in row_text(field)
        assert app.heard == []


async def test_none_is_shown_by_its_word_and_numbers_at_the_right_edge() -> None:
    field = seed()
    async with ControlsApp(field).run_test(size=(30, 3)) as pilot:
        await pilot.pause()
        assert row_text(field) == "seed                    random"
        field.set_value(1_234_567)
        await pilot.pause()
        assert row_text(field) == "seed                 1,234,567"


async def test_the_largest_seed_is_shown_whole_in_a_narrow_panel() -> None:
    field = seed(HIGHEST_SEED)
    async with ControlsApp(field).run_test(size=(26, 3)) as pilot:
        await pilot.pause()
        assert row_text(field).split() == ["seed", str(HIGHEST_SEED)]


@given(st.integers(1, 1_048_576), st.sampled_from([-10, -1, 1, 10]))
def test_steps_lead_to_multiples_and_never_past_an_end(value: int, steps: int) -> None:
    moved = max_tokens(value).stepped(steps)
    assert moved is not None
    assert 1 <= moved <= 1_048_576
    assert moved % 64 == 0 or moved == 1
    assert (moved > value) == (steps > 0 and value < 1_048_576)
    assert (moved < value) == (steps < 0 and value > 1)
