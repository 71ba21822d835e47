"""The sampling sidebar: presets, sliders, length, seed, stop strings and the system prompt of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Key
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Collapsible, Label

from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.preset import BUILT_IN, Preset
from ttchat_tui.domain.sampling import MODEL_DEFAULT, RANGES, SamplingParams, with_preset
from ttchat_tui.session import PreviewedToken
from ttchat_tui.ui.widgets.sampling.bias_list import BiasList, BiasRow
from ttchat_tui.ui.widgets.sampling.constraint_row import ConstraintRow
from ttchat_tui.ui.widgets.sampling.fields import (
    AUTO,
    MAX_TOKENS_HELP,
    MORE_SLIDERS,
    NOT_UNDERSTOOD,
    SEED_HELP,
    SLIDER_KEYS,
    SLIDERS,
    STOP_HELP,
    SYSTEM_HELP,
    THINKING_HELP,
    UNSUPPORTED,
    SliderField,
    limits,
)
from ttchat_tui.ui.widgets.sampling.folded_rows import FoldedRows
from ttchat_tui.ui.widgets.sampling.number_field import NumberField
from ttchat_tui.ui.widgets.sampling.preset_select import PresetField
from ttchat_tui.ui.widgets.sampling.preview_rows import PreviewRows
from ttchat_tui.ui.widgets.sampling.slider import Slider
from ttchat_tui.ui.widgets.sampling.stop_field import StopField
from ttchat_tui.ui.widgets.sampling.system_prompt import SystemPrompt
from ttchat_tui.ui.widgets.sampling.ticks import Ticks


class SamplingPanel(VerticalScroll, can_focus=False):
    """Shows one conversation's settings. The `set_*` methods post nothing; the user's changes are posted as messages.

    Parameters keep their exact values, also where a slider cannot show them. Up and down move between rows.
    """

    help_title = "In the sampling panel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "row(-1)", "Row above", show=False),
        Binding("down", "row(1)", "row", tooltip="Row below", key_display="↑ ↓"),
    ]

    DEFAULT_CSS = """
    SamplingPanel { width: 1fr; height: 1fr; }
    SamplingPanel > Collapsible { height: auto; padding: 0; border: none; }
    SamplingPanel > Collapsible > Contents { padding: 0; }
    SamplingPanel > Collapsible > CollapsibleTitle { padding: 0; }
    """

    @dataclass
    class ParamsChanged(Message):
        """The user changed a parameter or chose a preset of sampling alone. `params` apply from the next token on."""

        params: SamplingParams

    @dataclass
    class PreviewToggled(Message):
        """The user opened the sampler's preview, or closed it."""

        is_open: bool

    @dataclass
    class PresetChosen(Message):
        """The user chose a preset of their own, which may change more than this panel shows. Nothing is applied yet."""

        name: str

    @dataclass
    class SystemPromptChanged(Message):
        """The user changed the system prompt, then paused or left the field."""

        text: str

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.border_title = "Sampling"
        self._params = SamplingParams()
        self._model_default: SamplingParams | None = None
        self._default = SamplingParams()
        self._bundles: Mapping[str, Preset] = BUILT_IN
        self._preset: str | None = None
        self._is_tuned = False
        """The user has changed a parameter here since the settings were shown."""
        self._help: dict[str, str] = {}
        self._presets = PresetField("preset", tuple(BUILT_IN))
        self._sliders = {field.name: self._slider(field) for field in (*SLIDERS, *MORE_SLIDERS)}
        self._max_tokens = self._number("max_tokens", "max tokens", MAX_TOKENS_HELP, step=64)
        self._seed = self._number("seed", "seed", SEED_HELP, none_text="random")
        self._stop = StopField("stop")
        self._help["stop"] = STOP_HELP
        self._bias = BiasList()
        self._constraint = ConstraintRow()
        self._thinking = PresetField("thinking", (AUTO,))
        self._levels: tuple[str, ...] = ()
        self._more = FoldedRows(*(self._sliders[field.name] for field in MORE_SLIDERS), heading="more")
        self._preview = PreviewRows()
        self._preview_fold = FoldedRows(self._preview, heading="preview", keys="d draw")
        self._system_prompt = SystemPrompt(placeholder="No system prompt")
        self._system_prompt.tooltip = Content(SYSTEM_HELP)
        self.set_capabilities(Capabilities())
        self._show_params()

    def compose(self) -> ComposeResult:
        yield self._presets
        for field in SLIDERS:
            yield self._sliders[field.name]
        yield self._more
        yield self._preview_fold
        yield from (self._max_tokens, self._seed, self._stop, self._bias, self._constraint, self._thinking)
        yield Label("system prompt", classes="heading", markup=False)
        yield self._system_prompt

    def _slider(self, field: SliderField) -> Slider:
        reach, default = RANGES[field.name], getattr(SamplingParams(), field.name)
        self._help[field.name] = f"{field.help}\n{SLIDER_KEYS}"
        return Slider(
            field.label,
            Ticks(reach.low, reach.high, reach.step),
            default,
            limits=limits(field.name),
            is_integer=isinstance(default, int),
            name=field.name,
        )

    def _number(self, name: str, label: str, help: str, *, step: int = 1, none_text: str = "") -> NumberField:
        low, high = limits(name)
        value = getattr(SamplingParams(), name)
        self._help[name] = help
        return NumberField(
            label,
            value,
            low=int(low),
            high=int(high),
            step=step,
            none_text=none_text,
            default=value,
            name=name,
        )

    def on_mount(self) -> None:
        self._bias.show(self._params.logit_bias)

    # --- what the screen sets

    @property
    def params(self) -> SamplingParams:
        return self._params

    @property
    def system_prompt(self) -> str:
        """The current text, also while it is being typed."""
        return self._system_prompt.text

    def set_params(self, params: SamplingParams) -> None:
        """Show these parameters; posts nothing."""
        if params != self._params:
            self._params, self._is_tuned = params, False
            self._show_params()

    def set_system_prompt(self, text: str) -> None:
        """Show this system prompt; posts nothing."""
        self._system_prompt.set_text(text)
        self._show_preset()

    def replace_system_prompt(self, text: str) -> None:
        """Show this system prompt, and keep the one before for ctrl+z in its field. Posts nothing."""
        self._system_prompt.put_in_place(text)

    def set_preset(self, name: str) -> None:
        """Show this preset, if it matches the settings, before others that match too. Posts nothing."""
        self._preset = name
        self._show_preset()

    def set_presets(self, presets: Mapping[str, Preset]) -> None:
        """Offer these presets, and the model's own. Posts nothing."""
        self._bundles = presets
        self._offer_presets()

    def set_model_default(
        self, params: SamplingParams | None, configured: SamplingParams | None = None
    ) -> None:
        """Set the model's recommended parameters, which are a preset. `configured`: the same with config and flags over
        them, to which rows reset."""
        self._model_default = params
        self._default = configured or params or SamplingParams()
        for name, row in self._rows().items():
            row.set_default(getattr(self._default, name))
        self._offer_presets()

    def set_capabilities(self, capabilities: Capabilities) -> None:
        """Disable the parameters that the engine does not support."""
        for name, row in {**self._rows(), "stop": self._stop}.items():
            is_supported = name in capabilities.sampling
            row.disabled = not is_supported
            row.tooltip = Content(self._help[name] if is_supported else f"{UNSUPPORTED}\n{self._help[name]}")
        self._bias.disabled = "logit_bias" not in capabilities.sampling
        self._bias.tooltip = Content(UNSUPPORTED) if self._bias.disabled else None
        self._levels = capabilities.thinking
        self._thinking.disabled = not self._levels
        note = "" if self._levels else f"{NOT_UNDERSTOOD}\n"
        self._thinking.tooltip = Content(f"{note}{THINKING_HELP}")
        self._show_thinking()

    def _show_thinking(self) -> None:
        """A value that this model's template does not understand is shown while it is set."""
        value = self._params.thinking
        names = (AUTO, *self._levels)
        self._thinking.set_names(names if value in names else (*names, value), names)
        self._thinking.show(value)

    def set_context_length(self, tokens: int) -> None:
        """Limit the reply's length to the model's context; 0: unknown, any length is allowed."""
        self._max_tokens.high = tokens or int(limits("max_tokens")[1])

    def _rows(self) -> dict[str, Slider | NumberField]:
        return {**self._sliders, "max_tokens": self._max_tokens, "seed": self._seed}

    def set_preview_open(self, is_open: bool) -> None:
        """Unfold the sampler's preview, or fold it; posts nothing."""
        with self.prevent(Collapsible.Expanded, Collapsible.Collapsed):
            self._preview_fold.collapsed = not is_open

    def focus_preview(self) -> bool:
        """Returns False if it has the focus already."""
        is_new = not self._preview.has_focus
        self._preview.focus()
        return is_new

    def show_preview(self, token: PreviewedToken | None, why_not: str) -> None:
        """Preview this token under the parameters that are shown; None: say why there is none."""
        self._preview.show(token, why_not)

    def _show_params(self) -> None:
        self._preview.set_params(self._params)
        for name, row in self._rows().items():
            row.set_value(getattr(self._params, name))
        self._stop.set_strings(self._params.stop)
        if self._bias.is_attached:
            self._bias.show(self._params.logit_bias)
        self._constraint.show(self._params.constraint)
        self._show_thinking()
        self._show_preset()

    def _offer_presets(self) -> None:
        names = (MODEL_DEFAULT, *self._bundles) if self._model_default else tuple(self._bundles)
        # One step too far with an arrow key must not replace the system prompt or load a model.
        more = {name for name, each in self._bundles.items() if each.model or each.system_prompt is not None}
        self._presets.set_names(names, [name for name in names if name not in more])
        self._show_preset()

    def _show_preset(self) -> None:
        names = self._presets.names
        matching = [name for name in names if self._is_in_use(name)]
        if not matching and not self._is_tuned:
            matching = [name for name in names if self._has_what_it_gives(name)]
        if self._preset not in matching:
            # Of several equal presets, the chosen one stays; otherwise the model's own comes first.
            is_own = MODEL_DEFAULT in matching
            self._preset = MODEL_DEFAULT if is_own else matching[-1] if matching else None
        self._presets.show(self._preset)
        folded = sum(self._sliders[field.name].is_modified for field in MORE_SLIDERS)
        self._more.set_heading(f"more ({folded} changed)" if folded else "more")

    def _with(self, preset: str) -> SamplingParams:
        if preset == MODEL_DEFAULT:
            return with_preset(self._params, self._model_default or SamplingParams())
        return self._bundles[preset].sampling_over(self._params, self._default)

    def _is_in_use(self, preset: str) -> bool:
        """Whether the sampling and the system prompt are those of the preset. One that gives neither, only a model, is never
        shown: the panel does not know the model."""
        bundle = self._bundles.get(preset)
        if bundle is None or bundle.system_prompt is None:
            return bool(bundle is None or bundle.sampling.given) and self._with(preset) == self._params
        return bundle.system_prompt == self.system_prompt and self._with(preset) == self._params

    def _has_what_it_gives(self, preset: str) -> bool:
        """Whether a preset with a system prompt gave these settings while a model with other recommended parameters was
        loaded."""
        bundle = self._bundles.get(preset)
        return (
            bundle is not None
            and bool(bundle.system_prompt)
            and bundle.system_prompt == self.system_prompt
            and bundle.sampling.over(self._params) == self._params
        )

    def focus_system_prompt(self) -> None:
        self._system_prompt.focus()

    def focus_first(self) -> None:
        """Focus the first enabled row, from the top of the panel."""
        self.scroll_home(animate=False)
        for row in self._rows().values():
            if not row.disabled:
                row.focus()
                return

    # --- what the user does

    @on(Slider.Changed)
    def _slider_moved(self, event: Slider.Changed) -> None:
        event.stop()
        self._change(**{event.name: int(event.value) if event.slider.is_integer else event.value})

    @on(NumberField.Changed)
    def _number_entered(self, event: NumberField.Changed) -> None:
        event.stop()
        self._change(**{event.name: event.value})

    @on(StopField.Changed)
    def _stop_entered(self, event: StopField.Changed) -> None:
        event.stop()
        self._change(stop=event.strings)

    @on(BiasRow.Changed)
    def _bias_changed(self, event: BiasRow.Changed) -> None:
        event.stop()
        bias = {**self._params.logit_bias, event.text: event.amount}
        self._change(logit_bias={text: amount for text, amount in bias.items() if amount})

    @on(PresetField.Chosen)
    def _preset_chosen(self, event: PresetField.Chosen) -> None:
        event.stop()
        if event.field is self._thinking:
            self._change(thinking=event.preset)
            return
        self._preset = event.preset
        if event.preset in BUILT_IN or event.preset == MODEL_DEFAULT:
            self._apply(self._with(event.preset))
        else:
            self.post_message(self.PresetChosen(event.preset))

    @on(Collapsible.Toggled)
    def _fold_toggled(self, event: Collapsible.Toggled) -> None:
        event.stop()
        self.refresh_bindings()
        if event.collapsible is self._preview_fold:
            self.post_message(self.PreviewToggled(not event.collapsible.collapsed))

    def on_key(self, event: Key) -> None:
        """Where nothing is typed, d draws from the open preview."""
        if event.key == "d" and not self._preview_fold.collapsed:
            event.stop()
            self._preview.action_draw()

    @on(SystemPrompt.Edited)
    def _system_prompt_edited(self, event: SystemPrompt.Edited) -> None:
        event.stop()
        self._show_preset()
        self.post_message(self.SystemPromptChanged(event.text))

    def _change(self, **fields: Any) -> None:
        self._is_tuned = True
        self._apply(msgspec.structs.replace(self._params, **fields))

    def _apply(self, params: SamplingParams) -> None:
        if params != self._params:
            self._params = params
            self._show_params()
            self.post_message(self.ParamsChanged(params))

    def action_row(self, direction: int) -> None:
        """Move the focus to the row above or below; at an end it stays."""
        chain = self.screen.focus_chain
        rows = [each for each in chain if isinstance(each, Widget) and self in each.ancestors]
        focused = self.screen.focused
        if focused in rows:
            place = rows.index(focused) + direction
            if 0 <= place < len(rows):
                rows[place].focus()
