"""What completes the settings of `/retry`: their names, and the values of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

import msgspec

from ttchat_tui.domain.sampling import KeepThoughts, SamplingParams
from ttchat_tui.ui.widgets.sampling.fields import limits

MODEL: Final = "model"


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
        if text := _typed_value(value):
            known.setdefault(text, f"{about} · {allowed}")
    return SettingValues(list(known.items()), allowed)


def _typed_value(value: Any) -> str:
    """A value as it is typed; empty for stop strings, which are typed one by one."""
    if value is None:
        return "random"
    return "" if isinstance(value, tuple) else f"{value:g}" if isinstance(value, float) else str(value)


def _about(name: str, value: Any) -> str:
    now = f"now {text}" if (text := _typed_value(value)) else ""
    return ", ".join(filter(None, (_allowed(name), now)))


def _allowed(name: str) -> str:
    if name in ("thinking", "keep_thoughts"):
        return ""
    if name == "stop":
        return "a text that ends the reply"
    if name == "seed":
        return "a whole number or random"
    low, high = limits(name)
    return f"{low:,} to {high:,}" if isinstance(low, int) else f"{low:g} to {high:g}"
