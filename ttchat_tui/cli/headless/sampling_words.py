"""Sampling parameters as words: `temperature=0.2 stop=END`."""

from __future__ import annotations

from itertools import starmap

import msgspec

from ttchat_tui.cli.headless.listing import UsageError
from ttchat_tui.domain.constraint import ConstraintError, typed_constraint
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.logit_bias import bias_words
from ttchat_tui.domain.reply_settings import parse_reply_settings
from ttchat_tui.domain.sampling import SamplingParams


def changed(params: SamplingParams, words: str) -> SamplingParams:
    """`params` with what `words` say. The first `stop=` replaces all stop strings; a bias is added to those of other texts.

    Raises:
        UsageError: with the name, and what it takes.
    """
    settings = parse_reply_settings(words)
    if isinstance(settings, ErrorInfo):
        raise UsageError(settings.line)
    if settings.model:
        raise UsageError("/set takes no model. /retry model=NAME loads one.")
    found = settings.over(params)
    if settings.sampling.get("logit_bias"):
        found = msgspec.structs.replace(found, logit_bias={**params.logit_bias, **found.logit_bias})
    return found


def with_constraint(params: SamplingParams, typed: str) -> SamplingParams:
    """Raises UsageError."""
    try:
        return msgspec.structs.replace(params, constraint=typed_constraint(typed))
    except ConstraintError as error:
        raise UsageError(f"constraint: {error}") from error


def described(params: SamplingParams) -> str:
    """A line for each parameter."""
    values = msgspec.structs.asdict(params)
    values["seed"] = "none, a new one for each reply" if params.seed is None else params.seed
    values["logit_bias"] = ", ".join(starmap(bias_words, params.logit_bias.items())) or "none"
    values["constraint"] = params.constraint.summary if params.constraint else "none"
    values["stop"] = ", ".join(map(repr, params.stop)) or "none"
    return "\n".join(f"{name}: {value}" for name, value in values.items())
