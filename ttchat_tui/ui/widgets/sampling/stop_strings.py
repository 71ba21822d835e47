r"""Stop strings as one line of text: `###  "User:"  \n\n`, and back.

Items are separated by spaces or commas; one that contains either, or a quote, stands in double quotes. `\n`, `\r`,
`\t`, `\\`, `\"` and `\uXXXX` or `\UXXXXXXXX` mean what they mean in Python, with quotes or without.
"""

from __future__ import annotations

import re
from typing import Final

MOST_ITEMS: Final = 16
LONGEST_ITEM: Final = 256
"""As `SamplingParams.stop` allows."""

_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"(?=[\s,]|$)|((?:[^\s,"\\]|\\.)+)(?=[\s,]|$)', re.DOTALL)
_SEPARATOR = re.compile(r"[\s,]+")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_NAMED: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}
_NAMES: Final = {character: "\\" + name for name, character in _NAMED.items()}


class StopStringsError(ValueError):
    """What is wrong with the text, in a few words for the person who typed it."""


def parse_stop_strings(text: str) -> tuple[str, ...]:
    """The stop strings of a line, in order, without repeats.

    Raises:
        StopStringsError: a quote is open, an escape unknown, an item empty or too long, or there are too many.
    """
    items: dict[str, None] = {}
    position = 0
    while position < len(text):
        if separator := _SEPARATOR.match(text, position):
            position = separator.end()
            continue
        match = _ITEM.match(text, position)
        if match is None:
            raise StopStringsError('a " or a \\ is left open')
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
            raise StopStringsError(f"\\{escape} is no character")
        return chr(code)
    if escape not in _NAMED:
        raise StopStringsError(f"\\{escape} is no escape")
    return _NAMED[escape]


def format_stop_strings(items: tuple[str, ...]) -> str:
    """A line that `parse_stop_strings` reads back as the same items, with nothing invisible in it."""
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
