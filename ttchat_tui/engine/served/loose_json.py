"""Tolerant JSON parsing: what servers send is not always valid JSON, and a value may have any type. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

import msgspec

_DECODER: Final = json.JSONDecoder(strict=False)
_GAP: Final = re.compile(r"\s*")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_MOST: Final = 1 << 40
"""Largest plausible token count."""
_MOST_DIGITS: Final = 14
_MOST_VALUES: Final = 10_000


def decoded(data: str | bytes) -> object:
    """Parse `data`; several values in a row become a list. Accepts lone surrogates, NaN, control characters in strings
    and a byte order mark.

    Raises:
        ValueError: it is not JSON.
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
    """`found` if it is an object, else an empty one."""
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def count_of(found: object) -> int | None:
    """A token count: an integer, a float without a fraction, or digits in a string; None for anything else."""
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < _MOST_DIGITS:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= _MOST:
        return None
    return int(found) if found == int(found) else None


def first_count(*found: object) -> int | None:
    """The first value that is a token count."""
    return next((count for count in map(count_of, found) if count is not None), None)


def unescaped(body: bytes) -> str:
    r"""A body as text to search in: JSON or not, with `\uXXXX` decoded."""
    return _ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), body.decode("utf-8", "replace"))


def _after_gap(text: str, at: int) -> int:
    gap = _GAP.match(text, at)
    return gap.end() if gap else at
