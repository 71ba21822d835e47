"""Settings for one reply alone, as they follow `/retry`: `model=llama temperature=0.2 top-k=0`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.sampling import SamplingParams, shown_value

_NO_SEED: Final = ("none", "random")


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
    """Parse `name=value` pairs; a value with spaces is quoted. A hyphen in a name is an underscore. An error names the pair
    and what is possible."""
    try:
        words = shlex.split(text)
    except ValueError:
        return _usage("A quotation mark has no partner.")
    model, typed = "", dict[str, Any]()
    for word in words:
        name, equals, value = word.partition("=")
        name = name.lower().replace("-", "_")
        if not equals or not value or (name != "model" and name not in SamplingParams.__struct_fields__):
            return _usage(f"{word!r} is no setting.")
        if name == "model":
            model = value
        elif name == "stop":
            typed[name] = (*typed.get(name, ()), value)
        else:
            typed[name] = None if name == "seed" and value.lower() in _NO_SEED else value
    try:
        valid = msgspec.convert(typed, decodable(SamplingParams), strict=False)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        return _usage(f"{where.rstrip('`')}: {reason}.")
    return ReplySettings(model, {name: getattr(valid, name) for name in typed})


def differing(samplings: Sequence[SamplingParams]) -> list[str]:
    """The names of the fields in which these parameters differ."""
    return [
        name
        for name in SamplingParams.__struct_fields__
        if any(getattr(each, name) != getattr(samplings[0], name) for each in samplings[1:])
    ]


def setting_words(sampling: SamplingParams, names: Iterable[str]) -> list[str]:
    """These fields in words: `temperature 0.2`, `top-k 0`, `thinking off`."""
    words: list[str] = []
    for name in names:
        value = getattr(sampling, name)
        if name == "stop":
            words += [f"stop {string!r}" for string in value]
        elif value is not None:  # a random seed
            words.append(f"{name.replace('_', '-')} {shown_value(value)}")
    return words


def _usage(problem: str) -> ErrorInfo:
    names = ", ".join(name.replace("_", "-") for name in SamplingParams.__struct_fields__)
    return ErrorInfo(
        kind="usage",
        message=problem,
        cure=f"Write for example: /retry model=NAME temperature=0.2. The names are model, {names}.",
    )
