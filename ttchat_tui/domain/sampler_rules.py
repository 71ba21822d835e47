"""The sampler's rules in their order: the one list that the sampler, its preview and docs/sampling.md share.

The sampler applies exactly these, in this order (`engine/decoding/rules.py` has the code of each).
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

RuleName: TypeAlias = Literal[
    "constraint", "logit bias", "repetition", "presence, frequency", "temperature", "top-k", "top-p", "min-p"
]


class SamplerRule(msgspec.Struct, frozen=True):
    name: RuleName
    """Those that cut tokens have the names of `domain.recording.Cut`."""
    fields: tuple[str, ...]
    """The fields of `SamplingParams` that it reads."""
    effect: str
    """What it does, in Markdown."""


RULES: Final[tuple[SamplerRule, ...]] = (
    SamplerRule(
        "constraint",
        ("constraint",),
        "Keeps the tokens with which the reply can still have the form that is asked for.",
    ),
    SamplerRule(
        "logit bias", ("logit_bias",), "Adds an amount to the logits of single tokens; -100 bans a token."
    ),
    SamplerRule(
        "repetition",
        ("repetition_penalty",),
        "Divides the positive logits of tokens in the prompt or the reply by it, and multiplies the negative ones (CTRL).",
    ),
    SamplerRule(
        "presence, frequency",
        ("presence_penalty", "frequency_penalty"),
        "Subtracts from the logit of each token in the reply: once, and once for each occurrence (OpenAI).",
    ),
    SamplerRule(
        "temperature",
        ("temperature",),
        "Divides the logits by it. 0 is greedy: the highest logit is left, of equal ones the lowest id.",
    ),
    SamplerRule("top-k", ("top_k",), "Keeps the k most probable tokens; 0 keeps all."),
    SamplerRule(
        "top-p",
        ("top_p",),
        "Keeps the smallest set of most probable tokens that holds at least this share of what is left.",
    ),
    SamplerRule(
        "min-p", ("min_p",), "Drops tokens that are less probable than this share of the most probable one."
    ),
)
