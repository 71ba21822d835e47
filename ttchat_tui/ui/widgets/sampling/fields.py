"""The sampling parameters in the panel: order, labels, help, and the ranges that may be typed."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import msgspec

from ttchat_tui.domain.sampling import SamplingParams


@dataclass(frozen=True)
class SliderField:
    """One parameter with a slider."""

    name: str
    """The field of `SamplingParams`."""
    label: str
    help: str


SLIDERS: Final = (
    SliderField(
        "temperature", "temperature", "How random the next token is; 0 always picks the most likely one."
    ),
    SliderField("top_p", "top-p", "Keep the most likely tokens up to this total probability; 1 keeps all."),
    SliderField(
        "min_p", "min-p", "Drop tokens less likely than this share of the most likely one; 0 drops none."
    ),
    SliderField("top_k", "top-k", "Keep this many of the most likely tokens; 0 keeps all."),
    SliderField(
        "repetition_penalty",
        "repetition",
        "Above 1, tokens in the prompt and the reply become less likely.",
    ),
)

MORE_SLIDERS: Final = (
    SliderField(
        "presence_penalty", "presence", "Above 0, tokens already in the reply become less likely, once."
    ),
    SliderField("frequency_penalty", "frequency", "Above 0, tokens become less likely each time they occur."),
)

SLIDER_KEYS: Final = "← → a step, shift ten · digits type a value · delete resets"

MAX_TOKENS_HELP: Final = "The longest reply, in tokens."
SEED_HELP: Final = "The same seed gives the same reply; random gives another each time."
STOP_HELP: Final = (
    "The reply ends before any of these. Separate them by spaces or commas; "
    'write "two words" in quotes, a line break as \\n. Enter applies.'
)
AUTO: Final = "auto"
THINKING_HELP: Final = (
    "Whether, or how long, the model thinks before it answers; auto leaves it to the chat template. "
    "It applies to the next message."
)
NOT_UNDERSTOOD: Final = "This model's chat template has no such choice."
SYSTEM_HELP: Final = "Instructions to the model, before the conversation."
UNSUPPORTED: Final = "Not supported by this engine."


@functools.cache
def limits(name: str) -> tuple[float, float]:
    """The range that `SamplingParams` accepts for a field. A slider may show only the useful part of it."""
    for field in msgspec.inspect.type_info(SamplingParams).fields:  # pyright: ignore[reportAttributeAccessIssue]
        if field.name == name:
            for kind in getattr(field.type, "types", (field.type,)):
                if isinstance(kind, (msgspec.inspect.IntType, msgspec.inspect.FloatType)):
                    assert kind.ge is not None
                    assert kind.le is not None
                    return kind.ge, kind.le
    raise KeyError(f"no sampling parameter {name!r} with a range")
