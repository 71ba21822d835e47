"""Types of settings in words, read from the schema: for error messages, and for reading environment variables."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import inspect

from ttchat_tui.config.old_places import old_names
from ttchat_tui.config.schema import config_type, engine_choices
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.value_words import bare_type, wanted_value

_TYPES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a section",
    "null": "nothing",
}
"""What a reader of TOML calls the types in msgspec's messages."""
_WRONG_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_WORDS: Final = (
    (re.compile(r"Expected `\w+` of length >= 1"), "is empty"),
    (re.compile(r"Expected `str` of length <= (\d+)"), "is longer than {0} characters"),
    (re.compile(r"Expected `\w+` of length <= (\d+)"), "has more than {0} entries"),
    (re.compile(r"Expected `\w+` <=? .*"), "is too large"),
    (re.compile(r"Expected `\w+` >=? .*"), "is too small"),
    (re.compile(r"Invalid enum value (.*)", re.DOTALL), "is {0}, which is not among the choices"),
    (re.compile(r"Object contains unknown field `(.*)`", re.DOTALL), "there is no key `{0}`"),
    (re.compile(r"Object missing required field `(.*)`"), "the key `{0}` is missing"),
)
"""Pattern of a message of msgspec → the same in words."""

ValueKind: TypeAlias = Literal["text", "list", "bool", "int", "float", "section"]


_OF_A_KEY: Final = "key` in `"
"""Before the path of a table, one of whose names is wrong."""
_UNKNOWN: Final = re.compile(r"there is no key `(.*)`", re.DOTALL)
_INDEX: Final = re.compile(r"\[[^\]]*\]")
"""The end of `$.sampling.stop[0]` and `$.keys[...]`: a place in a list or table."""


def problem(error: msgspec.ValidationError, schema: type | None = None) -> tuple[str, str, str]:
    """What is wrong, in words; where, as `$.sampling.top_k`; and the cure. `schema`: of another file than config.toml."""
    what, path = error_path(error)
    unknown = _UNKNOWN.fullmatch(what)
    if unknown:
        name = unknown.group(1)
        return "there is no such setting", f"{path}.{name}", known_names(names_in(path), name, schema)
    cure = expectation(names_in(path), schema)
    if cure.startswith("give one of ") and what.endswith(", not text"):
        what = f"{what.removesuffix(', not text')}, which is not among the choices"
    return what, path, cure


def names_in(path: str) -> list[str]:
    """`$.sampling.stop[0]` → `sampling`, `stop`."""
    return _INDEX.sub("", path).split(".")[1:]


def expectation(path: Sequence[str], schema: type | None = None) -> str:
    """The cure for a wrong value at `path`: `give a number from 0 to 2`. Empty for an unknown path."""
    if list(path) == ["model", "engine"]:
        return f"give one of {', '.join(sorted(engine_choices()))}"
    info = _find(path, schema)
    match info:
        case inspect.StrType():
            return 'give a string in "quotes"'
        case inspect.VarTupleType():
            return 'give a list of strings: ["…", "…"]'
        case inspect.StructType() if "constraint" in path[-1:]:
            return 'give a kind and a text: { kind = "choices", text = "yes,no" }'
        case inspect.StructType():
            return f"give a section: [{'.'.join(path)}]"
        case inspect.DictType(value_type=inspect.StructType()):
            return f"give a section for each name: [{'.'.join(path)}.NAME]"
        case inspect.DictType() if path[-1] == "logit_bias":
            return 'give each token a number from -100 to 100, which bans it at -100: { " the" = -100 }'
        case inspect.DictType() if path[-1] == "template_options":
            return 'give each variable of the chat template a value: { reasoning_effort = "high", enable_thinking = false }'
        case inspect.DictType():
            return 'give each action its keys, separated by commas: stop = "escape,ctrl+x"'
        case None:
            return ""
        case _:
            return wanted_value(info)


def known_names(section: Sequence[str], name: str, schema: type | None = None) -> str:
    """The cure for an unknown `name` in `section`: the setting that was probably meant, else all of them."""
    info = _find(section, schema)
    names = [field.name for field in info.fields] if isinstance(info, inspect.StructType) else []
    old = old_names(".".join(section)) if schema is None else ()
    near = difflib.get_close_matches(name, [*names, *old], n=1)
    inner = difflib.get_close_matches(name, SamplingParams.__struct_fields__, n=1)
    if inner and not near and not section and "sampling" in names:
        return f"write `{inner[0]}` below [sampling]"
    return f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(names)}"


def value_kind(path: Sequence[str]) -> ValueKind | None:
    """How to read the text of an environment variable for `path`; None if there is no such setting."""
    match _find(path):
        case inspect.LiteralType(values) if all(isinstance(value, int) for value in values):
            return "int"
        case inspect.StrType() | inspect.LiteralType():
            return "text"
        case inspect.VarTupleType():
            return "list"
        case inspect.BoolType():
            return "bool"
        case inspect.IntType():
            return "int"
        case inspect.FloatType():
            return "float"
        case inspect.StructType() | inspect.DictType():
            return "section"
        case _:
            return None


def _find(path: Sequence[str], schema: type | None = None) -> inspect.Type | None:
    """The type at `path`. Below `sampling` it is that of `SamplingParams`, which has the ranges."""
    info: inspect.Type = inspect.type_info(schema or config_type())
    for depth, name in enumerate(path):
        if isinstance(info, inspect.DictType):
            info = info.value_type
            continue
        if not isinstance(info, inspect.StructType):
            return None
        field = next((field for field in info.fields if field.name == name), None)
        if field is None:
            return None
        info = (
            inspect.type_info(SamplingParams) if (depth, name) == (0, "sampling") else bare_type(field.type)
        )
    return info


def error_path(error: msgspec.ValidationError) -> tuple[str, str]:
    """What is wrong, in words, and where, as `$.sampling.top_k` (`$` for the whole)."""
    what, _, path = str(error).partition(" - at `")
    what, path = _in_words(what), path.removesuffix("`") or "$"
    if path.startswith(_OF_A_KEY):
        return f"has a name that {what}", path.removeprefix(_OF_A_KEY)
    return what, path


def _in_words(what: str) -> str:
    """msgspec's message without the names of Python's types. One that is not known stays as it is."""
    if match := _WRONG_TYPE.fullmatch(what):
        wanted, found = (
            " or ".join(_TYPES.get(each, each) for each in kind.split(" | ")) for kind in match.groups()
        )
        return f"is {found}, not {wanted}"
    for pattern, words in _WORDS:
        if match := pattern.fullmatch(what):
            return words.format(*match.groups())
    return what
