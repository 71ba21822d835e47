"""What completes the settings of `/retry`: their names, and the values of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from ttchat_tui.domain.sampling import KeepThoughts, SamplingParams
from ttchat_tui.ui.widgets.sampling.fields import limits

MODEL: Final = "model"

_WITHOUT_RANGE: Final = {
    "thinking": "",
    "keep_thoughts": "",
    "stop": "a text that ends the reply",
    "seed": "a whole number or random",
    "logit_bias": "TEXT=AMOUNT, -100 to 100; -100 bans the token",
    "constraint": "'json-schema FILE', 'regex EXPRESSION', 'grammar FILE', 'choices TEXT,TEXT' or off",
}
"""What the settings accept that have no range of numbers."""


class SettingValues(msgspec.Struct, frozen=True):
    """The values of one setting."""

    offered: Sequence[tuple[str, str]]
    """Values, and a few words about each."""
    allowed: str = ""
    """What else may be typed, in words; empty: nothing else."""


def setting_names(now: SamplingParams) -> list[tuple[str, str]]:
    """The names, as they are typed, with what they accept and are `now`."""
    named = [(name.replace("_", "-"), _about(name, getattr(now, name))) for name in now.__struct_fields__]
    return [(MODEL, "answers with another model"), *named]


def setting_values(
    name: str, now: SamplingParams, recommended: SamplingParams, levels: Sequence[str]
) -> SettingValues:
    """The values of the setting with this (typed) name, but for models. `levels`: those of thinking that the model has."""
    field = name.lower().replace("-", "_")
    if field == "thinking":
        return SettingValues([(level, "") for level in ("auto", *levels)])
    if field == "keep_thoughts":
        return SettingValues([(choice, "") for choice in get_args(KeepThoughts)])
    if field not in now.__struct_fields__:
        return SettingValues([])
    allowed = _allowed(field)
    known: dict[str, str] = {}
    for value, about in ((getattr(now, field), "now"), (getattr(recommended, field), "the model's default")):
        if text := _typed_value(field, value):
            known.setdefault(text, f"{about} · {allowed}")
    return SettingValues(list(known.items()), allowed)


def _typed_value(name: str, value: Any) -> str:
    """A value as it is typed; empty for stop strings and biases, which are typed one by one, and for the text of a file."""
    if name == "constraint":
        if value is None:
            return "off"
        return value.summary if value.summary == f"{value.kind} {value.text}" else ""
    if value is None:
        return "random"
    if isinstance(value, (tuple, Mapping)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _about(name: str, value: Any) -> str:
    now = f"now {text}" if (text := _typed_value(name, value)) else ""
    return ", ".join(filter(None, (_allowed(name), now)))


def _allowed(name: str) -> str:
    if name in _WITHOUT_RANGE:
        return _WITHOUT_RANGE[name]
    low, high = limits(name)
    return f"{low:,} to {high:,}" if isinstance(low, int) else f"{low:g} to {high:g}"
