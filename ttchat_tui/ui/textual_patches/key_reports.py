"""Key reports of the kitty and xterm keyboard protocols, rewritten into the form that Textual (8.2.8) parses.

kitty (https://sw.kovidgoyal.net/kitty/keyboard-protocol/): `CSI code:shifted:base ; modifiers:event ; text u`, for some
keys another final character; `base` is the key at this position of a US keyboard, if it differs from `code`. xterm with
modifyOtherKeys: `CSI 27 ; modifiers ; code ~`.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_KITTY: Final = re.compile(
    r"\x1b\[(\d{0,7})(?::(\d{0,7}))?(?::(\d{0,7}))?(?:;(\d{0,7})(?::(\d))?)?(?:;([\d:]{0,64}))?([u~A-S])"
)
_XTERM: Final = re.compile(r"\x1b\[27;(\d{1,3});(\d{1,7})~")
_SHIFT, _ALT, _CTRL, _SUPER, _CAPS_LOCK = 1, 2, 4, 8, 64
"""Bits of `modifiers - 1`."""
_COMMANDS: Final = _ALT | _CTRL | _SUPER
_RELEASED: Final = "3"
"""Event type; 1 is press, 2 is repeat."""
_KEYS: Final = range(0xE000, 0xF900)
"""Codes of functional keys, which type nothing."""


def readable(sequence: str) -> str:
    """The same key in the form that Textual parses; empty for a key release; `sequence` itself if it is not a key report.

    With alt, ctrl or super held, a letter of a non-Latin script becomes the letter at its position of a US keyboard. Latin
    letters follow the user's layout. Text that the layout produces with alt (AltGr, option on macOS) is text, not a command.
    """
    if other := _XTERM.fullmatch(sequence):
        sequence = f"\x1b[{other[2]};{other[1]}u"
    match = _KITTY.fullmatch(sequence)
    if match is None:
        return sequence
    code, shifted, base, modifiers, event, text, final = match.groups(default="")
    if event == _RELEASED:
        return ""
    held = int(modifiers or "1") - 1
    if final == "u":
        if held & _ALT and text and text not in (code, shifted, _upper(code)):
            held = 0
        elif held & _COMMANDS:
            code, text = _command_code(code, base), ""
        else:
            text = text or _typed(code, shifted, held)
    parts = [code, str(held + 1) if modifiers or text else "", text]
    while parts and not parts[-1]:
        parts.pop()
    return f"\x1b[{';'.join(parts)}{final}"


def _command_code(code: str, base: str) -> str:
    if not (code and base) or not 0 < int(base) <= 127 < int(code) <= 0x10FFFF:
        return code
    return code if unicodedata.name(chr(int(code)), "").startswith("LATIN") else base


def _typed(code: str, shifted: str, held: int) -> str:
    """The code of the character that a key without text types; empty if it types none."""
    number = int(code or "0")
    if not held or not 0 < number <= 0x10FFFF or number in _KEYS or not chr(number).isprintable():
        return ""
    if shifted and held & _SHIFT:
        return shifted
    return _upper(code) if bool(held & _SHIFT) != bool(held & _CAPS_LOCK) else code


def _upper(code: str) -> str:
    upper = chr(int(code)).upper() if code and int(code) <= 0x10FFFF else ""
    return str(ord(upper)) if len(upper) == 1 else code
