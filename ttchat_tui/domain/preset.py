"""Presets: a system prompt, sampling parameters and a model under one name. A preset may give only some of them."""

from __future__ import annotations

from typing import Final

import msgspec

from ttchat_tui.domain.sampling import (
    KEPT_BY_PRESETS,
    PRESETS,
    SamplingDefaults,
    SamplingParams,
    shown_value,
    with_preset,
)

_COUNTED: Final = {"stop": "stop string", "logit_bias": "biased token"}
_NAMED: Final = ("temperature", "top_p", "min_p", "top_k")
"""Parameters that a list of presets names; of others, those that are not the usual ones."""


class PresetContent(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """The schema of a preset's file."""

    description: str = ""
    """One line, for the picker."""
    model: str = ""
    """As an argument of `--model`; empty: the loaded model stays."""
    system_prompt: str | None = None
    """Empty: no system prompt. None: the conversation's stays."""
    sampling: SamplingDefaults = SamplingDefaults()
    """None given: the conversation's stay."""


class Preset(PresetContent, frozen=True, kw_only=True):
    name: str

    @property
    def gives(self) -> str:
        """What it sets, in words: `temperature 0.2, model NAME, system prompt`."""
        usual = SamplingParams()
        named = [
            value.summary
            if name == "constraint"
            else f"{len(value)} {_COUNTED[name]}{'s' * (len(value) != 1)}"
            if name in _COUNTED
            else f"{name.replace('_', '-')} {shown_value(value)}"
            for name, value in self.sampling.given.items()
            if name in _NAMED or value != getattr(usual, name)
        ]
        rest = [
            *([f"model {self.model}"] if self.model else []),
            *(["system prompt"] if self.system_prompt is not None else []),
        ]
        return ", ".join([*named, *rest])

    @property
    def unconstrained(self) -> Preset:
        """The same without its constraint."""
        sampling = msgspec.structs.replace(self.sampling, constraint=msgspec.UNSET)
        return msgspec.structs.replace(self, sampling=sampling)

    def sampling_over(self, current: SamplingParams, default: SamplingParams) -> SamplingParams:
        """The sampling of a conversation that has `current` now.

        A preset with sampling decides all of it: what it leaves out is the default. `KEPT_BY_PRESETS` stay unless it gives
        them.
        """
        return self.sampling.over(with_preset(current, default)) if self.sampling.given else current


def preset_of(name: str, sampling: SamplingParams, *, model: str, system_prompt: str) -> Preset:
    """The preset that brings exactly these settings back, except that without a seed or constraint the conversation's stays."""
    given = {field: getattr(sampling, field) for field in sampling.__struct_fields__}
    for field in ("seed", "constraint"):
        if given[field] is None:
            del given[field]
    return Preset(name=name, model=model, system_prompt=system_prompt, sampling=SamplingDefaults(**given))


BUILT_IN: Final[dict[str, Preset]] = {
    name: Preset(
        name=name,
        sampling=SamplingDefaults(
            **{
                field: getattr(params, field)
                for field in params.__struct_fields__
                if field not in KEPT_BY_PRESETS
            }
        ),
    )
    for name, params in PRESETS.items()
}
"""The presets that come with the program: sampling only."""
