"""Reads keys by what is printed on them: command keys on any keyboard layout, alt as readline has it.

The kitty keyboard protocol (https://sw.kovidgoyal.net/kitty/keyboard-protocol/) reports a key as
`CSI code:shifted:base ; modifiers ; text u`; `base` is the key at that place of a US keyboard, where code is another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.keys import _character_to_key

REPORT_ALTERNATES: Final = linux_driver.KITTY_REPORT_ALTERNATE_KEYS

WORD_KEYS: Final[dict[str, str]] = {
    "alt+b": "ctrl+left", "alt+left": "ctrl+left", "alt+f": "ctrl+right", "alt+right": "ctrl+right",
    "alt+backspace": "ctrl+w", "ctrl+backspace": "ctrl+w", "alt+d": "alt+delete", "ctrl+delete": "alt+delete",
}  # fmt: skip
"""readline's keys for words → the ones of the fields."""

_ESC: Final = "\x1b"
_ALTERNATES = re.compile(r"\x1b\[(\d{1,7}):(\d{0,7})(?::(\d{0,7}))?((?:;[\d:]*)*)u")
_COMMANDS: Final = 0b1110
"""The bits of alt, ctrl and super in modifiers - 1."""
_FIRST: Final = {sequence[1] for sequence in ANSI_SEQUENCES_KEYS if len(sequence) > 2 and sequence[0] == _ESC}
"""What follows ESC in sequences of more than two characters."""


def without_alternates(sequence: str) -> str:
    """A kitty key without its shifted and base codes, as Textual (8.2.8) reads it. With alt, ctrl or super held a
    letter of another script becomes the one at its place of a US keyboard; Latin ones stay where their layout has them."""
    match = _ALTERNATES.fullmatch(sequence)
    if match is None:
        return sequence
    code, _, base, rest = match.groups(default="")
    held = rest[1:].split(";")[0].split(":")[0] or "1"
    if base and int(code) > 127 >= int(base) and (int(held) - 1) & _COMMANDS:
        code = base
    return f"{_ESC}[{code}{rest}u"


def alt_key(character: str) -> events.Key:
    """Alt and a printable character: a command, never text."""
    name = character if character.isalnum() else _character_to_key(character)
    shift = "shift+" if len(name) == 1 and name != name.lower() else ""
    return events.Key(f"alt+{shift}{name.lower()}", None)


class LayoutParser(XTermParser):
    """Textual's parser, for keys of any layout and for alt."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        is_pair = len(sequence) == 2 and sequence[0] == _ESC and sequence[1] not in _FIRST
        if ((alt and len(sequence) == 1) or is_pair) and sequence[-1].isprintable():
            keys: Iterable[events.Key] = [alt_key(sequence[-1])]
        else:
            keys = super()._sequence_to_key_events(without_alternates(sequence), alt)
        for key in keys:
            yield events.Key(WORD_KEYS[key.key], None) if key.key in WORD_KEYS else key


def install() -> None:
    """Let Textual's driver ask for the alternate codes too; it makes up its flags from this name."""
    linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES = 1 | REPORT_ALTERNATES
