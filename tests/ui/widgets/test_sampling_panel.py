"""SamplingPanel: what it shows, posts, and leaves unchanged."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest
from textual import events
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Collapsible, Input, Select, TextArea

from tests.ui.widgets.controls_app import ControlsApp, row_text
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.preset import BUILT_IN, Preset
from ttchat_tui.domain.sampling import (
    MODEL_DEFAULT,
    PRESETS,
    SamplingDefaults,
    SamplingParams,
    checked,
    with_preset,
)
from ttchat_tui.ui.widgets.sampling.fields import limits
from ttchat_tui.ui.widgets.sampling.number_field import NumberField
from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel
from ttchat_tui.ui.widgets.sampling.preset_select import PresetMenu
from ttchat_tui.ui.widgets.sampling.slider import Slider
from ttchat_tui.ui.widgets.sampling.stop_field import StopField
from ttchat_tui.ui.widgets.sampling.system_prompt import SystemPrompt

SIZE = (34, 40)
ODD = SamplingParams(
    temperature=0.73, top_k=500, seed=42, max_tokens=333, stop=("\n\n", "User:"), presence_penalty=0.5
)


def row(panel: SamplingPanel, name: str) -> Slider | NumberField:
    return next(widget for widget in panel.query("ValueRow").results() if widget.name == name)  # type: ignore[return-value]


def posted(app: ControlsApp) -> list[SamplingParams]:
    return [message.params for message in app.heard if isinstance(message, SamplingPanel.ParamsChanged)]


def prompts(app: ControlsApp) -> list[str]:
    return [message.text for message in app.heard if isinstance(message, SamplingPanel.SystemPromptChanged)]


def preset(panel: SamplingPanel) -> str | None:
    return panel.query_one(PresetMenu).selection or None


def chosen(app: ControlsApp) -> list[str]:
    return [message.name for message in app.heard if isinstance(message, SamplingPanel.PresetChosen)]


async def use(pilot: Pilot[None], widget: Widget, *keys: str) -> None:
    widget.focus()
    await pilot.pause()
    await pilot.press(*keys)
    await pilot.pause()


async def test_parameters_set_by_the_program_are_shown_and_post_nothing() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_params(ODD)
        panel.set_system_prompt("Be [b]terse[/b].")
        panel.set_model_default(SamplingParams(temperature=0.6))
        panel.set_capabilities(Capabilities())
        await pilot.pause()
        assert app.heard == []
        assert panel.params is ODD
        assert row_text(row(panel, "temperature")).endswith(" 0.73")
        assert row_text(row(panel, "top_k")).endswith(" 500")
        assert row_text(row(panel, "seed")).endswith(" 42")
        assert row_text(row(panel, "max_tokens")).endswith(" 333")
        assert panel.query_one(Input).value == r"\n\n User:"
        assert panel.query_one(TextArea).text == panel.system_prompt == "Be [b]terse[/b]."
        assert preset(panel) is None


async def test_parameters_set_before_it_is_on_screen_are_shown() -> None:
    panel = SamplingPanel()
    panel.set_model_default(SamplingParams(temperature=0.6))
    panel.set_params(SamplingParams(temperature=0.6))
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert preset(panel) == MODEL_DEFAULT
        assert row_text(row(panel, "temperature")).endswith(" 0.60")
        assert app.heard == []


CHANGES: Final[tuple[tuple[str, list[str], object], ...]] = (
    ("temperature", ["right"], 0.75),
    ("top_p", ["left"], 0.94),
    ("min_p", ["right"], 0.01),
    ("top_k", ["right"], 41),
    ("repetition_penalty", ["right"], 1.01),
    ("max_tokens", ["right"], 1088),
    ("seed", ["7", "enter"], 7),
)


async def test_a_row_changes_its_parameter_and_no_other() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    expected = SamplingParams()
    async with app.run_test(size=SIZE) as pilot:
        for name, keys, value in CHANGES:
            app.heard.clear()
            await use(pilot, row(panel, name), *keys)
            expected = msgspec.structs.replace(expected, **{name: value})
            assert app.heard == [SamplingPanel.ParamsChanged(expected)]
            assert panel.params == expected
            assert isinstance(getattr(panel.params, name), type(value))


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
async def test_rare_penalties_lie_under_a_fold(name: str) -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        fold = panel.query_one(Collapsible)
        assert not row(panel, name).is_on_screen
        await use(pilot, fold.query_one("CollapsibleTitle"), "enter")
        await use(pilot, row(panel, name), "right")
        assert posted(app) == [msgspec.structs.replace(SamplingParams(), **{name: 0.05})]
        assert fold.title == "more (1 changed)  ← fold"


async def test_every_value_of_a_slider_is_valid() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        for slider in panel.query(Slider):
            slider.action_end_of_range(-1)
            slider.action_end_of_range(1)
        await pilot.pause()
        assert [checked(params) for params in posted(app)] == posted(app)
        assert len(posted(app)) >= 10


def test_the_typed_range_is_what_the_parameters_accept() -> None:
    assert limits("top_k") == (0, 1000)
    assert limits("temperature") == (0.0, 2.0)
    assert limits("seed") == (0, 2**63 - 1)
    assert limits("max_tokens") == (1, 1_048_576)


async def test_a_preset_leaves_seed_length_and_stop_strings() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_params(ODD)
        menu = panel.query_one(PresetMenu)
        await use(pilot, menu, "enter", "home", "down", "down", "enter")
        assert preset(panel) == "creative"
        assert posted(app) == [with_preset(ODD, PRESETS["creative"])]
        assert row_text(row(panel, "temperature")).endswith(" 1.10")
        assert (panel.params.seed, panel.params.max_tokens, panel.params.stop) == (42, 333, ("\n\n", "User:"))


async def test_a_changed_preset_is_custom_and_a_reset_one_is_itself() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_params(PRESETS["balanced"])
        await pilot.pause()
        assert preset(panel) == "balanced"
        await use(pilot, row(panel, "temperature"), "right")
        assert preset(panel) is None
        await use(pilot, row(panel, "temperature"), "left")
        assert preset(panel) == "balanced"


async def test_left_and_right_go_through_the_presets() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_params(PRESETS["precise"])
        await use(pilot, panel.query_one(PresetMenu), "left", "right", "right", "right")
        assert preset(panel) == "creative"
        assert posted(app) == [PRESETS["balanced"], PRESETS["creative"]]


async def test_a_preset_of_the_users_is_shown_while_sampling_and_system_prompt_are_its_own() -> None:
    cool = SamplingDefaults(temperature=0.1)
    mine = {
        "cool": Preset(name="cool", sampling=cool),
        "pirate": Preset(name="pirate", sampling=cool, system_prompt="Arr."),
        "model": Preset(name="model", model="m"),
    }
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_presets(BUILT_IN | mine)
        panel.set_params(PRESETS["creative"])
        await use(pilot, panel.query_one(PresetMenu), "right")
        assert chosen(app) == ["cool"]  # the screen applies it
        panel.set_params(SamplingParams(temperature=0.1))
        panel.set_preset("cool")
        await use(pilot, panel.query_one(PresetMenu), "right")
        assert chosen(app) == ["cool"]  # "pirate" would replace the system prompt
        panel.set_system_prompt("Arr.")
        panel.set_preset("pirate")
        await pilot.pause()
        assert preset(panel) == "pirate"
        # As another model's recommended parameters completed it.
        panel.set_params(SamplingParams(temperature=0.1, top_p=0.9))
        await pilot.pause()
        assert preset(panel) == "pirate"
        panel.set_params(SamplingParams(temperature=0.2, top_p=0.9))
        await pilot.pause()
        assert preset(panel) is None
        panel.set_params(SamplingParams(temperature=0.1, top_p=0.9))
        await use(pilot, row(panel, "top_p"), "right")
        assert preset(panel) is None
        panel.set_params(SamplingParams(temperature=0.1))
        panel.set_system_prompt("")
        await pilot.pause()
        assert preset(panel) == "cool"


async def test_choosing_custom_changes_nothing() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_params(PRESETS["balanced"])
        await use(pilot, panel.query_one(PresetMenu), "enter", "end", "enter")
        assert preset(panel) == "balanced"
        assert app.heard == []


async def test_the_presets_open_under_the_mouse() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click(PresetMenu)
        await pilot.pause()
        assert panel.query_one(PresetMenu).expanded


async def test_the_models_own_settings_are_a_preset_and_the_place_of_reset() -> None:
    own = SamplingParams(temperature=0.2, top_p=0.9)
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_model_default(own)
        panel.set_params(own)
        await pilot.pause()
        assert preset(panel) == MODEL_DEFAULT
        await use(pilot, row(panel, "temperature"), "end", "delete")
        assert posted(app)[-1] == own
        panel.set_model_default(None)
        await pilot.pause()
        assert preset(panel) is None
        await use(pilot, row(panel, "temperature"), "delete")
        assert panel.params.temperature == SamplingParams().temperature


async def test_unsupported_parameters_are_disabled_and_say_so() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_capabilities(Capabilities(sampling=frozenset({"temperature", "max_tokens"})))
        await pilot.pause()
        disabled = {widget.name for widget in panel.query("ValueRow").results() if widget.disabled}
        assert disabled == {
            "top_p",
            "min_p",
            "top_k",
            "repetition_penalty",
            "presence_penalty",
            "frequency_penalty",
            "seed",
        }
        assert panel.query_one(StopField).disabled
        assert "Not supported by this engine" in str(row(panel, "top_p").tooltip)
        assert "Not supported" not in str(row(panel, "temperature").tooltip)
        panel.set_capabilities(Capabilities())
        assert not any(widget.disabled for widget in panel.query("ValueRow").results())
        assert app.heard == []


async def test_max_tokens_is_limited_to_the_models_context() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        field = row(panel, "max_tokens")
        await use(pilot, field, *"102412", "enter")
        assert posted(app)[-1].max_tokens == 102_412
        panel.set_context_length(8192)
        assert panel.params.max_tokens == 102_412
        await use(pilot, field, "enter", *"102413", "enter")
        assert field.has_class("-rejected")
        assert "1–8k" in row_text(field)
        await use(pilot, field, "ctrl+u", *"8192", "enter")
        assert posted(app)[-1].max_tokens == 8192


async def test_a_disabled_rows_tooltip_comes_up_under_the_mouse() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    app.TOOLTIP_DELAY = 0.01
    async with app.run_test(size=SIZE, tooltips=True) as pilot:
        panel.set_capabilities(Capabilities(sampling=frozenset()))
        await pilot.pause()
        await pilot.hover(row(panel, "temperature"))
        tooltip = app.screen.query_one("#textual-tooltip")
        while not tooltip.display:
            await pilot.pause()
        assert "Not supported by this engine" in str(tooltip.render())


async def test_stop_strings_are_committed_with_enter() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await use(pilot, panel.query_one(Input), *r"\n\n", "comma", *"END", "enter")
        assert posted(app) == [SamplingParams(stop=("\n\n", "END"))]
        assert panel.query_one(Input).value == r"\n\n END"


async def test_stop_strings_are_committed_when_the_field_is_left() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await use(pilot, panel.query_one(Input), *"END", "tab")
        assert posted(app) == [SamplingParams(stop=("END",))]


async def test_an_error_in_stop_strings_is_shown_until_it_is_corrected_or_cancelled() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        field = panel.query_one(StopField)
        error = field.query_one(".stop-field--error")
        await use(pilot, field.query_one(Input), "quotation_mark", *"END", "enter")
        assert error.display
        assert "not closed" in str(error.render())
        await pilot.press("quotation_mark", "enter")
        await pilot.pause()
        assert not error.display
        assert posted(app) == [SamplingParams(stop=("END",))]
        await pilot.press("quotation_mark", "enter", "escape")
        await pilot.pause()
        assert not error.display
        assert field.query_one(Input).value == "END"


async def test_the_system_prompt_is_reported_when_it_is_left() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await use(pilot, panel.query_one(SystemPrompt), *"Hi", "enter", *"you")
        assert panel.system_prompt == "Hi\nyou"
        await pilot.press("tab")
        await pilot.pause()
        assert prompts(app) == ["Hi\nyou"]


@pytest.mark.parametrize("before", ["", "Be terse."])
async def test_enter_opens_the_system_prompt_and_adds_no_blank_line_before_it(before: str) -> None:
    panel = SamplingPanel()
    async with ControlsApp(panel).run_test(size=SIZE) as pilot:
        panel.set_system_prompt(before)
        await use(pilot, panel.query_one(SystemPrompt), "enter", "enter", *"Hi", "enter", *"you ")
        assert panel.system_prompt == f"Hi\nyou {before}"


async def test_the_system_prompt_is_reported_once_after_a_pause() -> None:
    area = SystemPrompt(pause_s=0.01)
    heard: list[str] = []

    class PromptApp(ControlsApp):
        def on_system_prompt_edited(self, event: SystemPrompt.Edited) -> None:
            heard.append(event.text)

    async with PromptApp(area).run_test(size=SIZE) as pilot:
        area.focus()
        await pilot.press("a")
        while not heard:
            await pilot.pause()
        await pilot.press("tab")
        await pilot.pause()
        assert heard == ["a"]


async def test_setting_the_same_system_prompt_again_keeps_edits() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        panel.set_system_prompt("old")
        await use(pilot, panel.query_one(SystemPrompt), "end", "x")
        panel.set_system_prompt("old")
        assert panel.system_prompt == "oldx"
        panel.set_system_prompt("another conversation's")
        await use(pilot, row(panel, "temperature"))
        assert panel.system_prompt == "another conversation's"
        assert prompts(app) == []


async def test_up_and_down_go_from_row_to_row() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=SIZE) as pilot:
        await use(pilot, panel.query_one(PresetMenu), "up", "down", "down")
        assert row(panel, "top_p").has_focus
        await pilot.press("up")
        assert row(panel, "temperature").has_focus
        assert app.heard == []


async def test_the_focus_begins_at_the_first_row_that_can_be_changed() -> None:
    panel = SamplingPanel()
    async with ControlsApp(panel).run_test(size=SIZE) as pilot:
        panel.set_capabilities(Capabilities(sampling=frozenset({"top_p"})))
        panel.focus_first()
        await pilot.pause()
        assert row(panel, "top_p").has_focus


async def test_the_wheel_over_rows_without_focus_scrolls_a_low_panel() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel)
    async with app.run_test(size=(34, 10)) as pilot:
        app.set_focus(None)
        slider = row(panel, "temperature")
        slider.post_message(events.MouseScrollDown(slider, 1, 0, 0, 0, 0, False, False, False))
        await pilot.pause()
        assert panel.scroll_offset.y > 0
        assert app.heard == []


@pytest.mark.parametrize("width", [30, 34])
async def test_every_row_fits_a_narrow_sidebar(width: int) -> None:
    panel = SamplingPanel()
    async with ControlsApp(panel).run_test(size=(width, 40)) as pilot:
        panel.set_model_default(SamplingParams(temperature=0.6))
        panel.set_params(SamplingParams(temperature=0.6))
        await pilot.pause()
        assert not panel.show_horizontal_scrollbar
        assert panel.query_one("PresetMenu #label").size.width >= len(MODEL_DEFAULT)
        assert row_text(row(panel, "temperature")).split()[-1] == "0.60"


async def test_a_select_event_from_elsewhere_does_not_reach_the_presets() -> None:
    panel = SamplingPanel()
    app = ControlsApp(panel, Select([("x", "x")], value="x"))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert app.heard == []
