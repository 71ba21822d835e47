"""Settings for one reply alone, as they follow `/retry`: `model=llama temperature=0.2 top-k=0`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from ttchat_tui.domain.constraint import CONSTRAINT_FORMS, ConstraintError, typed_constraint
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.logit_bias import bias_words, typed_bias
from ttchat_tui.domain.sampling import SamplingParams, shown_value
from ttchat_tui.domain.value_words import bare_type, near_name, wanted_value

_NONE: Final = ("none", "random")
"""Takes out a fixed seed, a constraint, all stop texts or all biases."""


class ReplySettings(msgspec.Struct, frozen=True):
    model: str = ""
    """Empty: the loaded one."""
    sampling: Mapping[str, Any] = {}
    """Fields of `SamplingParams` with valid values."""

    def over(self, sampling: SamplingParams) -> SamplingParams:
        """`sampling` with these settings over it."""
        return msgspec.structs.replace(sampling, **self.sampling)


NO_SETTINGS: Final = ReplySettings()


def parse_reply_settings(text: str) -> ReplySettings | ErrorInfo:
    """Parse `name=value` pairs; a value with spaces is quoted, and `none` takes out what has no number. A hyphen in a name is an
    underscore. An error names the pair, and what it takes or which name was probably meant."""
    try:
        words = shlex.split(text)
    except ValueError:
        return ErrorInfo(kind="usage", message="A quotation mark has no partner.")
    model, typed = "", dict[str, Any]()
    for word in words:
        name, equals, value = word.partition("=")
        name = name.lower().replace("-", "_")
        if name != "model" and name not in SamplingParams.__struct_fields__:
            return ErrorInfo(kind="usage", message=f"{word!r} is no setting.", cure=names_near(name))
        if not equals or not value:
            return ErrorInfo(
                kind="usage", message=f"{word!r} has no value.", cure=f"Write {name.replace('_', '-')}=VALUE."
            )
        is_none = value.lower() in _NONE
        if name == "model":
            model = value
        elif name == "constraint":
            try:
                typed[name] = typed_constraint("off" if is_none else value)
            except ConstraintError as error:
                return ErrorInfo(kind="usage", message=f"constraint: {error}")
        elif name == "stop":
            typed[name] = (*typed.get(name, ()), *(() if is_none else (value,)))
        elif name == "logit_bias" and is_none:
            typed.setdefault(name, {})
        elif name == "logit_bias":
            try:
                text, amount = typed_bias(value)
            except ValueError as error:
                return ErrorInfo(kind="usage", message=f"logit-bias: {error}.")
            typed[name] = {**typed.get(name, {}), text: amount}
        else:
            typed[name] = None if name == "seed" and is_none else value
    try:
        valid = msgspec.convert(typed, decodable(SamplingParams), strict=False)
    except msgspec.ValidationError as error:
        _, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`").partition("[")[0]
        return ErrorInfo(kind="usage", message=f"{name.replace('_', '-')}: {wanted_for(name)}.")
    return ReplySettings(model, {name: getattr(valid, name) for name in typed})


def differing(samplings: Sequence[SamplingParams]) -> list[str]:
    """The names of the fields in which these parameters differ."""
    return [
        name
        for name in SamplingParams.__struct_fields__
        if any(getattr(each, name) != getattr(samplings[0], name) for each in samplings[1:])
    ]


def continued(
    own: SamplingParams, sampling: SamplingParams, compared: Iterable[str]
) -> tuple[ReplySettings, str]:
    """The settings with which a reply with `own` ones continues in a conversation with others, and a sentence about them;
    empty: they are as before. In what it was `compared` with other replies, it keeps its own."""
    held = ReplySettings(sampling={name: getattr(own, name) for name in compared})
    used = held.over(sampling)
    kept, new = differing([sampling, used]), differing([own, used])
    words = [f"with its own {', '.join(setting_words(used, kept))}"] if kept else []
    words += [f"from here on with {', '.join(setting_words(used, new))}"] if new else []
    return held, f"It continues {', and '.join(words)}." if words else ""


def setting_words(sampling: SamplingParams, names: Iterable[str]) -> list[str]:
    """These fields in words: `temperature 0.2`, `top-k 0`, `thinking off`."""
    words: list[str] = []
    for name in names:
        value = getattr(sampling, name)
        if name == "stop":
            words += [f"stop {string!r}" for string in value]
        elif name == "logit_bias":
            words += [bias_words(*each) for each in value.items()]
        elif name == "constraint":
            words.append(value.summary if value else "no constraint")
        elif value is not None:  # a random seed
            words.append(f"{name.replace('_', '-')} {shown_value(value)}")
    return words


def wanted_for(name: str) -> str:
    """What a field of `SamplingParams` takes: `give a number from 0 to 2`."""
    if name == "constraint":
        return f"give {CONSTRAINT_FORMS}"
    if name == "logit_bias":
        return "give TEXT=AMOUNT, from -100 to 100; -100 bans the token"
    info = next(each for each in _fields() if each.name == name)
    return wanted_value(bare_type(info.type)) or "give texts of at most 256 characters, at most 16 of them"


@cache
def _fields() -> tuple[inspect.Field, ...]:
    info = inspect.type_info(SamplingParams)
    assert isinstance(info, inspect.StructType)
    return info.fields


def names_near(name: str) -> str:
    """The cure for an unknown name of a setting."""
    names = ["model", *(each.replace("_", "-") for each in SamplingParams.__struct_fields__)]
    near = near_name(name.replace("_", "-"), names)
    return f"Did you mean {near}?" if near else f"The settings are {', '.join(names)}."


_LIKE_A_COMMAND: Final = 0.75
"""A letter more, less or exchanged in a short word; not `/older` for `/clear`."""


def command_near(word: str, commands: Iterable[str]) -> str:
    """`Did you mean /new?` for an unknown command; empty if none is near. Names have no slash. A setting that is typed as a
    command is one of `/set`."""
    known = {each: f"/{each}" for each in commands}
    for field in SamplingParams.__struct_fields__:
        name = field.replace("_", "-")
        known.setdefault(name, f"/set {name}=VALUE")
    near = near_name(word.lower().replace("_", "-"), known, _LIKE_A_COMMAND)
    return f"Did you mean {known[near]}?" if near else ""
