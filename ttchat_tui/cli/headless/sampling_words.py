"""Sampling parameters as words: `temperature=0.2 stop=END`."""

from __future__ import annotations

import shlex
from itertools import starmap
from typing import Any, Final

import msgspec

from ttchat_tui.cli.headless.listing import UsageError
from ttchat_tui.domain.constraint import ConstraintError, typed_constraint
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.logit_bias import bias_words, typed_bias
from ttchat_tui.domain.reply_settings import names_near, wanted_for
from ttchat_tui.domain.sampling import SamplingParams

_NONE: Final = frozenset({"none", "random", ""})


def changed(params: SamplingParams, words: str) -> SamplingParams:
    """`params` with what `words` say. The first `stop=` replaces all stop strings; `logit_bias=none` removes all biases.

    Raises:
        UsageError: with the name, and what it takes.
    """
    try:
        given = [word.partition("=") for word in shlex.split(words)]
    except ValueError as error:  # an open quote
        raise UsageError(f"{str(error).rstrip('.')}.") from error
    stops: list[str] = []
    for name, sign, value in given:
        if not sign:
            raise UsageError(f"{name} has no value.")
        name = name.replace("-", "_")
        if name == "logit_bias":
            params = _with(params, name, _biased(params, value))
        elif name == "stop":
            stops += [value] if value not in _NONE else []
            params = _with(params, "stop", stops)
        elif name == "constraint":
            params = with_constraint(params, "off" if value in _NONE else value)
        else:
            params = _with(params, name, None if name == "seed" and value in _NONE else value)
    return params


def _biased(params: SamplingParams, value: str) -> dict[str, float]:
    if value in _NONE:
        return {}
    try:
        text, amount = typed_bias(value)
    except ValueError as error:
        raise UsageError(f"logit_bias: {error}.") from error
    return {**params.logit_bias, text: amount}


def with_constraint(params: SamplingParams, typed: str) -> SamplingParams:
    """Raises UsageError."""
    try:
        return msgspec.structs.replace(params, constraint=typed_constraint(typed))
    except ConstraintError as error:
        raise UsageError(f"constraint: {error}") from error


def _with(params: SamplingParams, name: str, value: Any) -> SamplingParams:
    if name not in SamplingParams.__struct_fields__:
        raise UsageError(f"There is no parameter {name}. {names_near(name)}")
    values = {**msgspec.to_builtins(params), name: value}
    try:
        return msgspec.convert(values, decodable(SamplingParams), strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{name}: {wanted_for(name)}.") from error


def described(params: SamplingParams) -> str:
    """A line for each parameter."""
    values = msgspec.structs.asdict(params)
    values["seed"] = "none, a new one for each reply" if params.seed is None else params.seed
    values["logit_bias"] = ", ".join(starmap(bias_words, params.logit_bias.items())) or "none"
    values["constraint"] = params.constraint.summary if params.constraint else "none"
    values["stop"] = ", ".join(map(repr, params.stop)) or "none"
    return "\n".join(f"{name}: {value}" for name, value in values.items())
