"""Slider: keys, mouse, and the drawn row."""

from __future__ import annotations

import pytest
from textual import events
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Static

from tests.ui.widgets.controls_app import ControlsApp, row_text, wheel
from ttchat_tui.ui.widgets.sampling.slider import Slider
from ttchat_tui.ui.widgets.sampling.ticks import Ticks

SIZE = (40, 6)
TRACK_START = 12
TRACK_CELLS = 22
"""At 40 columns: less label, value and a gap on either side."""


def temperature(value: float = 0.7, **options: object) -> Slider:
    return Slider("temperature", Ticks(0.0, 2.0, 0.05), value, name="temperature", **options)  # type: ignore[arg-type]


def top_k(value: float = 40) -> Slider:
    return Slider("top-k", Ticks(0, 200, 1), value, limits=(0, 1000), is_integer=True, name="top_k")


def values(app: ControlsApp) -> list[float]:
    return [message.value for message in app.heard if isinstance(message, Slider.Changed)]


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


KEYS: tuple[tuple[list[str], float], ...] = (
    (["right"], 0.75),
    (["left"], 0.65),
    (["shift+right"], 1.2),
    (["shift+left"], 0.2),
    (["pageup"], 0.9),
    (["pagedown"], 0.5),
    (["home"], 0.0),
    (["end"], 2.0),
    (["right", "right", "left"], 0.75),
    (["home", "left"], 0.0),
    (["end", "right"], 2.0),
    (["1", ".", "3", "enter"], 1.3),
    (["1", ",", "3", "enter"], 1.3),
    (["0", ".", "7", "3", "enter"], 0.73),
    (["enter", "1", "enter"], 1.0),
    (["enter", "x", "1", ".", "5", "enter"], 1.5),
    (["enter", "backspace", "1", "enter"], 1.0),
    (["enter", "end", "backspace", "1", "enter"], 0.71),
    (["enter", "home", "delete", "1", "enter"], 1.7),
    (["enter", "left", "5", "enter"], 0.75),
    (["1", "ctrl+u", "2", "enter"], 2.0),
)
"""Pressed on 0.7, and the value they make of it."""


async def test_keys_move_and_type_the_value() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        for keys, value in KEYS:
            slider.set_value(0.7)
            app.heard.clear()
            await press(pilot, *keys)
            assert slider.value == value, keys
            assert values(app)[-1] == value, keys
            assert not slider.is_editing, keys


@pytest.mark.parametrize("key", ["backspace", "delete"])
async def test_reset_returns_to_the_default(key: str) -> None:
    slider = temperature(1.5, default=0.7)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, key)
        assert values(app) == [0.7]
        await press(pilot, key)
        assert values(app) == [0.7]


async def test_every_change_is_posted_once_with_its_name() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, "right", "right")
        assert app.heard == [
            Slider.Changed(slider, "temperature", 0.75),
            Slider.Changed(slider, "temperature", 0.8),
        ]


async def test_a_value_set_by_the_program_is_shown_and_posts_nothing() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.set_value(1.1)
        await pilot.pause()
        assert row_text(slider).endswith(" 1.10")
        assert app.heard == []


async def test_escape_cancels_typing() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, "1", ".", "9", "escape")
        assert slider.value == 0.7
        assert not slider.is_editing
        assert app.heard == []
        assert row_text(slider).endswith(" 0.70")


async def test_an_invalid_value_shows_the_range_and_can_be_corrected() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        for typed in ("9", "-1", "1.2.3", "-", "1.."):
            slider.set_value(0.7)
            app.heard.clear()
            await press(pilot, *typed, "enter")
            assert slider.is_editing, typed
            assert slider.has_class("-rejected"), typed
            assert typed in row_text(slider)
            assert "must be 0 to 2" in row_text(slider), typed
            await press(pilot, "ctrl+u", "1")
            assert not slider.has_class("-rejected"), typed
            await press(pilot, "enter")
            assert values(app) == [1.0], typed


async def test_letters_do_not_get_into_a_number() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, "1", "x", "r", "space", ".", "2", "enter")
        assert values(app) == [1.2]


async def test_a_paste_is_typed_at_once() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        slider.post_message(events.Paste("1.25\n"))
        await press(pilot, "enter")
        assert values(app) == [1.25]


async def test_leaving_the_row_commits_a_valid_value_and_drops_an_invalid_one() -> None:
    first, second = temperature(), top_k()
    app = ControlsApp(first, second)
    async with app.run_test(size=SIZE) as pilot:
        first.focus()
        await press(pilot, "1", "tab")
        assert second.has_focus
        await press(pilot, "9", "9", "9", "9", "shift+tab")
        assert values(app) == [1.0]
        assert second.value == 40
        assert not second.is_editing


async def test_more_than_the_track_shows_may_be_typed_within_the_limits() -> None:
    slider = top_k()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, *"500", "enter")
        assert values(app) == [500]
        await press(pilot, *"2.5", "enter")
        assert slider.has_class("-rejected")


@pytest.mark.parametrize(
    ("slider", "shown"),
    [
        (temperature(0.73), "0.73"),
        (top_k(500), "500"),
        (temperature(0.7312345), "~0.73"),
        (temperature(5.0), "5.00"),
    ],
)
async def test_a_value_off_the_grid_or_the_range_is_shown_exactly(slider: Slider, shown: str) -> None:
    before = slider.value
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert row_text(slider).endswith(f" {shown}")
        assert slider.value == before
        assert app.heard == []


async def test_amending_a_rounded_value_begins_with_the_whole_of_it() -> None:
    slider = temperature(0.7312345)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        slider.focus()
        await press(pilot, "enter", "enter")
        assert slider.value == 0.7312345
        assert app.heard == []


async def test_a_click_jumps_and_a_drag_follows_beyond_the_ends() -> None:
    slider = temperature(0.7, default=0.0)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.mouse_down(slider, offset=(TRACK_START + TRACK_CELLS - 1, 0))
        assert slider.value == 2.0
        assert app.mouse_captured is slider
        await pilot.hover(slider, offset=(TRACK_START + 10, 0))
        assert slider.value == slider.ticks.value(slider.ticks.tick_at(10, TRACK_CELLS))
        await pilot.hover(None, offset=(0, 4))
        assert slider.value == 0.0
        await pilot.mouse_up(None, offset=(0, 4))
        assert app.mouse_captured is None
        await pilot.hover(slider, offset=(TRACK_START + 10, 0))
        assert slider.value == 0.0
        assert slider.has_focus


async def test_the_default_has_a_cell_of_its_own() -> None:
    slider = temperature(2.0, default=0.7)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        cell = row_text(slider).index("┯") - TRACK_START
        await pilot.click(slider, offset=(TRACK_START + cell, 0))
        assert values(app) == [0.7]
        assert "┯" not in row_text(slider)


async def test_a_click_on_the_thumb_does_not_round_the_value() -> None:
    slider = temperature(0.73, default=0.0)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(slider, offset=(row_text(slider).index("●"), 0))
        assert slider.value == 0.73
        assert app.heard == []


async def test_a_click_outside_the_track_only_focuses() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        for offset in (0, 5, 38):
            app.set_focus(None)
            await pilot.click(slider, offset=(offset, 0))
            assert slider.has_focus, offset
            assert app.heard == [], offset


async def test_only_the_left_button_moves_the_thumb() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(slider, offset=(TRACK_START + 20, 0), button=3)
        assert app.heard == []
        assert app.mouse_captured is None


async def test_a_double_click_on_the_value_types_one() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.double_click(slider, offset=(37, 0))
        assert slider.is_editing
        await press(pilot, *"0.33", "enter")
        assert values(app) == [0.33]


async def test_the_wheel_moves_the_focused_slider_and_scrolls_the_panel_otherwise() -> None:
    slider = temperature()
    panel = VerticalScroll(slider, Static("\n" * 30))
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        app.set_focus(None)
        slider.post_message(wheel(events.MouseScrollDown, slider))
        await pilot.pause()
        assert app.heard == []
        assert panel.scroll_offset.y > 0
        panel.scroll_home(animate=False)
        slider.focus()
        await pilot.pause()
        slider.post_message(wheel(events.MouseScrollUp, slider))
        await pilot.pause()
        assert values(app) == [0.75]
        slider.set_value(0.0)
        slider.post_message(wheel(events.MouseScrollDown, slider))
        await pilot.pause()
        assert values(app) == [0.75]
        assert panel.scroll_offset.y == 0


async def test_the_row_fills_any_width_and_its_columns_stay() -> None:
    slider = temperature(2.0, default=0.0)
    app = ControlsApp(slider)
    async with app.run_test(size=(20, 3)) as pilot:
        for width in (26, 30, 34, 60, 120):
            await pilot.resize_terminal(width, 3)
            slider.set_value(2.0)
            await pilot.pause()
            track = width - 18
            assert row_text(slider) == "temperature ┯" + "━" * (track - 2) + "●  2.00"
            slider.set_value(0.0)
            await pilot.pause()
            assert row_text(slider) == "temperature ●" + "─" * (track - 1) + "  0.00"


async def test_without_room_for_a_track_label_and_value_remain() -> None:
    slider = temperature()
    async with ControlsApp(slider).run_test(size=(20, 3)) as pilot:
        await pilot.pause()
        assert row_text(slider) == "temperature     0.70"


async def test_a_modified_value_is_seen() -> None:
    slider = temperature(0.7, default=0.7)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        app.set_focus(None)
        await pilot.pause()
        calm = slider.render_line(0)
        slider.set_value(0.75)
        await pilot.pause()
        changed = slider.render_line(0)
        assert list(calm)[-1].style != list(changed)[-1].style


async def test_a_disabled_slider_ignores_keys_and_mouse() -> None:
    slider = temperature(disabled=True)
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(slider, offset=(TRACK_START + 20, 0))
        await press(pilot, "right", "1", "enter")
        assert app.heard == []
        assert not slider.has_focus
        assert row_text(slider).endswith(" 0.70")


async def test_a_slider_disabled_during_a_drag_releases_the_mouse() -> None:
    slider = temperature()
    app = ControlsApp(slider)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.mouse_down(slider, offset=(TRACK_START + 20, 0))
        slider.disabled = True
        await pilot.pause()
        assert app.mouse_captured is None
