"""JSON as servers write it, which is not always JSON, and values of it that may be of any type. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

import msgspec

_DECODER: Final = json.JSONDecoder(strict=False)
_GAP: Final = re.compile(r"\s*")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_MOST: Final = 1 << 40
"""Of anything that is counted in tokens; a number above it is no count."""
_MOST_DIGITS: Final = 14
_MOST_VALUES: Final = 10_000


def decoded(data: str | bytes) -> object:
    """The value; of several, one behind the other, a list. Halves of surrogate pairs, NaN and control characters in strings
    pass, as does a byte order mark.

    Raises:
        ValueError: no JSON.
    """
    text = (data if isinstance(data, str) else data.decode("utf-8", "replace")).removeprefix("\ufeff")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    values, at = list[object](), _after_gap(text, 0)
    try:
        while at < len(text):
            value, end = _DECODER.raw_decode(text, at)
            values.append(value)
            if len(values) > _MOST_VALUES:
                raise ValueError("too many values")
            at = _after_gap(text, end)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not values:
        raise ValueError("nothing")
    return values if len(values) > 1 else values[0]


def object_of(found: object) -> dict[str, Any]:
    """The object; an empty one in place of anything else."""
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def count_of(found: object) -> int | None:
    """A number of tokens: an integer, a float without a fraction, or digits in a string; None for anything else."""
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < _MOST_DIGITS:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= _MOST:
        return None
    return int(found) if found == int(found) else None


def first_count(*found: object) -> int | None:
    """The first of them that is a count."""
    return next((count for count in map(count_of, found) if count is not None), None)


def unescaped(body: bytes) -> str:
    r"""A body's text for a search of words: JSON of any kind, or none, its `\uXXXX` read."""
    return _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), body.decode("utf-8", "replace"))


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at
