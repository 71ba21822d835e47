r"""Stop strings as one line of text: `###  "User:"  \n\n`, and back.

Items are separated by spaces or commas. An item with a space, a comma or a quote is in double quotes. `\n`, `\r`,
`\t`, `\\`, `\"` and `\uXXXX` or `\UXXXXXXXX` are escapes as in Python, with quotes or without.
"""

from __future__ import annotations

import re
from typing import Final

MOST_ITEMS: Final = 16
LONGEST_ITEM: Final = 256
"""The limit of `SamplingParams.stop`."""

_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"(?=[\s,]|$)|((?:[^\s,"\\]|\\.)+)(?=[\s,]|$)', re.DOTALL)
_SEPARATOR = re.compile(r"[\s,]+")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_NAMED: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}
_NAMES: Final = {character: "\\" + name for name, character in _NAMED.items()}


class StopStringsError(ValueError):
    """The text is invalid; `str()` says why in a few words."""


def parse_stop_strings(text: str) -> tuple[str, ...]:
    """Parse a line into stop strings, in order, without repeats.

    Raises:
        StopStringsError: a quote is not closed, an escape is unknown, an item is empty or too long, or there are too many.
    """
    items: dict[str, None] = {}
    position = 0
    while position < len(text):
        if separator := _SEPARATOR.match(text, position):
            position = separator.end()
            continue
        match = _ITEM.match(text, position)
        if match is None:
            raise StopStringsError('a " or \\ is not closed')
        item = _ESCAPE.sub(_unescaped, match[1] if match[1] is not None else match[2])
        if not item:
            raise StopStringsError("an empty string would stop at once")
        if len(item) > LONGEST_ITEM:
            raise StopStringsError(f"longer than {LONGEST_ITEM} characters")
        items[item] = None
        position = match.end()
    if len(items) > MOST_ITEMS:
        raise StopStringsError(f"more than {MOST_ITEMS} strings")
    return tuple(items)


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        code = int(escape[1:], 16)
        if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            raise StopStringsError(f"\\{escape} is not a character")
        return chr(code)
    if escape not in _NAMED:
        raise StopStringsError(f"\\{escape} is not an escape")
    return _NAMED[escape]


def format_stop_strings(items: tuple[str, ...]) -> str:
    """The inverse of `parse_stop_strings`, without invisible characters."""
    return " ".join(_formatted(item) for item in items)


def _formatted(item: str) -> str:
    text = "".join(_escaped(character) for character in item)
    return f'"{text}"' if not item or any(character in ' ,"' for character in item) else text


def _escaped(character: str) -> str:
    if character in _NAMES:
        return _NAMES[character]
    if character == " " or character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
