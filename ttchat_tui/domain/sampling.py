"""Sampling parameters, their ranges, and the named sets of them."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.logit_bias import LogitBias

Thinking: TypeAlias = Literal["auto", "off", "on", "low", "medium", "high"]
"""How much a model thinks before it answers; `auto`: what its chat template does when it gets no argument."""

KeepThoughts: TypeAlias = Literal["auto", "always", "never"]
"""auto: templates that read thoughts get them apart from the answer, and keep or drop them · always: in the text of each
reply, as the model wrote them · never: answers only."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a reply is generated: how the next token is drawn, and what the chat template is given. The ranges are defined here only, as `Meta`; sliders and config read them."""

    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.7
    """0 is greedy: the most probable token, and of equal ones the lowest id."""
    top_k: Annotated[int, Meta(ge=0, le=1000)] = 40
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.95
    """Keep the smallest set of most probable tokens whose sum is at least this; 1 keeps all."""
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Drop tokens less probable than this share of the most probable one; 0 drops none."""
    repetition_penalty: Annotated[float, Meta(ge=0.5, le=2.0)] = 1.0
    """CTRL (Keskar et al. 2019): divide positive logits of tokens in prompt or reply by it, and multiply negative ones."""
    presence_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] = 0.0
    """Subtracted once from the logit of each token that is in the reply (OpenAI's definition)."""
    frequency_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] = 0.0
    """Subtracted for each occurrence of a token in the reply (OpenAI's definition)."""
    logit_bias: LogitBias = {}
    """Added to the logits of tokens before anything else, by the token's text (`domain/logit_bias.py`). -100 bans a token."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """None draws a new seed for each reply. The seed in use is stored with the reply."""
    max_tokens: Annotated[int, Meta(ge=1, le=1_048_576)] = 1024
    """The largest number of tokens in a reply."""
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=16)] = ()
    """The reply ends before the first of these strings, which is not part of it."""
    constraint: Constraint | None = None
    """The form of the whole reply. A reply keeps the one that it began with."""
    thinking: Thinking = "auto"
    """For the chat template. It applies to the next prompt, and has no effect where `Capabilities.thinking` lacks it."""
    keep_thoughts: KeepThoughts = "auto"
    """Whether the next prompt has the thoughts of earlier replies."""

    def __hash__(self) -> int:
        """msgspec's own cannot hash a mapping."""
        values = (getattr(self, name) for name in self.__struct_fields__ if name != "logit_bias")
        return hash((*values, frozenset(self.logit_bias.items())))


TEMPLATE_FIELDS: Final = frozenset({"thinking", "keep_thoughts"})
"""Fields for the chat template: they apply to a prompt, not to a token."""


DEFAULTS: Final = SamplingParams()


def shown_value(value: float | str) -> str:
    """The value of a field as it is shown: `0.2`, `1048576`, `off`."""
    return f"{value:g}" if isinstance(value, float) else str(value)


class SamplingDefaults(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Some of the parameters, as a config or a preset gives them: a parameter that is not given is left to the model.

    Names and ranges are those of `SamplingParams`; who reads them from a file checks the ranges.
    """

    temperature: float | UnsetType = UNSET
    top_k: int | UnsetType = UNSET
    top_p: float | UnsetType = UNSET
    min_p: float | UnsetType = UNSET
    repetition_penalty: float | UnsetType = UNSET
    presence_penalty: float | UnsetType = UNSET
    frequency_penalty: float | UnsetType = UNSET
    logit_bias: dict[str, float] | UnsetType = UNSET
    seed: int | UnsetType = UNSET
    max_tokens: int | UnsetType = UNSET
    stop: tuple[str, ...] | UnsetType = UNSET
    constraint: Constraint | UnsetType = UNSET
    thinking: Thinking | UnsetType = UNSET
    keep_thoughts: KeepThoughts | UnsetType = UNSET

    @property
    def given(self) -> dict[str, Any]:
        """The parameters that are given, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not UNSET}

    def over(self, recommended: SamplingParams) -> SamplingParams:
        """`recommended` with the parameters that are given here in place of its own.

        Raises:
            msgspec.ValidationError: a value is out of its range; never after it was read from a file.
        """
        return checked(msgspec.structs.replace(recommended, **self.given))


class Range(msgspec.Struct, frozen=True):
    """The range and the step of a parameter's slider."""

    low: float
    high: float
    step: float


RANGES: Final[dict[str, Range]] = {
    "temperature": Range(0.0, 2.0, 0.05),
    "top_p": Range(0.0, 1.0, 0.01),
    "min_p": Range(0.0, 1.0, 0.01),
    "top_k": Range(0, 200, 1),
    "repetition_penalty": Range(0.5, 2.0, 0.01),
    "presence_penalty": Range(-2.0, 2.0, 0.05),
    "frequency_penalty": Range(-2.0, 2.0, 0.05),
}
"""The ranges of the sliders. That of top-k is the useful part of what `SamplingParams` accepts."""

PRESETS: Final[dict[str, SamplingParams]] = {
    "precise": SamplingParams(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0),
    "balanced": SamplingParams(temperature=0.7, top_k=40, top_p=0.95, min_p=0.0),
    "creative": SamplingParams(temperature=1.1, top_k=0, top_p=1.0, min_p=0.05),
}
"""The named presets. Applying one keeps the rest (`with_preset`)."""

KEPT_BY_PRESETS: Final = ("seed", "max_tokens", "stop", "logit_bias", "constraint")
"""Parameters that presets leave alone, unless they give them."""

MODEL_DEFAULT: Final = "model default"
"""The preset with the values of the loaded model's generation_config."""


def with_preset(params: SamplingParams, preset: SamplingParams) -> SamplingParams:
    """`preset` with what presets leave alone as in `params`."""
    kept = (*KEPT_BY_PRESETS, *TEMPLATE_FIELDS)
    return msgspec.structs.replace(preset, **{name: getattr(params, name) for name in kept})


def checked(params: SamplingParams) -> SamplingParams:
    """Validate `params`: msgspec checks ranges on conversion, not on construction.

    Raises:
        msgspec.ValidationError: with the field and its range.
    """
    return msgspec.convert(msgspec.to_builtins(params), decodable(SamplingParams))
