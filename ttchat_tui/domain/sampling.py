"""Sampling parameters, their ranges (the one place they are written down) and the named presets."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from ttchat_tui.domain.decoding import decodable


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the next token is drawn. `Meta` holds each range; sliders and config both read it from there."""

    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.7
    """0 is greedy: the most probable token, ties to the lowest id."""
    top_k: Annotated[int, Meta(ge=0, le=1000)] = 40
    """Keep the k most probable tokens; 0 keeps all."""
    top_p: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.95
    """Keep the smallest set of tokens whose probabilities sum to at least this; 1 keeps all."""
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    """Drop tokens less probable than this share of the most probable one; 0 drops none."""
    repetition_penalty: Annotated[float, Meta(ge=0.5, le=2.0)] = 1.0
    """CTRL (Keskar et al. 2019): logits of tokens seen in prompt or reply are divided (or multiplied, when negative)."""
    presence_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] = 0.0
    """Subtracted once from the logit of every token already in the reply (OpenAI's definition)."""
    frequency_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] = 0.0
    """Subtracted once for each time a token is already in the reply (OpenAI's definition)."""
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """None draws a fresh seed for each reply; the one used is kept with the reply."""
    max_tokens: Annotated[int, Meta(ge=1, le=1_048_576)] = 1024
    """Longest reply, in tokens."""
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=16)] = ()
    """The reply ends before the first of these; the stop string itself is not part of it."""


class Range(msgspec.Struct, frozen=True):
    """The ends of one parameter's range, and the step a slider takes through it."""

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
"""What sliders offer: inside (for top-k: the useful part of) the range that `SamplingParams` accepts."""

PRESETS: Final[dict[str, SamplingParams]] = {
    "precise": SamplingParams(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0),
    "balanced": SamplingParams(temperature=0.7, top_k=40, top_p=0.95, min_p=0.0),
    "creative": SamplingParams(temperature=1.1, top_k=0, top_p=1.0, min_p=0.05),
}
"""Presets set how tokens are drawn and leave seed, max tokens and stop strings as they are (`with_preset`)."""

MODEL_DEFAULT: Final = "model default"
"""The preset that stands for the loaded model's generation_config."""


def with_preset(params: SamplingParams, preset: SamplingParams) -> SamplingParams:
    """`preset` with the seed, length and stop strings of `params`."""
    return msgspec.structs.replace(preset, seed=params.seed, max_tokens=params.max_tokens, stop=params.stop)


def checked(params: SamplingParams) -> SamplingParams:
    """The same parameters, validated: msgspec validates on conversion, not on construction.

    Raises:
        msgspec.ValidationError: naming the field and its range.
    """
    return msgspec.convert(msgspec.to_builtins(params), decodable(SamplingParams))
