"""What msgspec finds wrong with a value, as a clause for people: without its JSON paths and names of types."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_TYPES: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_WRONG_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `[^`]+`")
_WRONG_VALUE: Final = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_OUT_OF_RANGE: Final = re.compile(r"Expected `[^`]+` (?:[<>]=? .*|of length .*)")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def clause_of(error: msgspec.MsgspecError) -> str:
    """`chat_messages is not a list`, `item 1 of chat_messages has no sender`, `temperature is out of range`."""
    reason, _, path = str(error).partition(" - at ")
    place = _place(path.strip("`"))
    if match := _WRONG_TYPE.fullmatch(reason):
        wanted = [_TYPES[name] for name in match[1].split(" | ") if name in _TYPES]
        return f"{place} is not {' or '.join(wanted) or match[1]}"
    if match := _MISSING.fullmatch(reason):
        return f"{place} has no {match[1]}"
    if match := _WRONG_VALUE.fullmatch(reason):
        return f"{place} has an unknown value: {match[1]}"
    if _OUT_OF_RANGE.fullmatch(reason):
        return f"{place} is out of range"
    plain = f"{reason[:1].lower()}{reason[1:]}".replace("`", "")
    return f"{place} is wrong: {plain}" if path else plain


def _place(path: str) -> str:
    """`$.chat_messages[0].sender` → `sender in item 1 of chat_messages`; an index in `[...]` is unknown."""
    place = ""
    for name, index in _STEP.findall(path):
        if name:
            place = f"{name} in {place}" if place else name
        else:
            item = "an item" if index == "..." else f"item {int(index) + 1:,}"
            place = f"{item} of {place or 'the list'}"
    return place or "it"
