r"""Logit bias in text form: `" the" = -100` names a token by its text.

A token whose bytes are not UTF-8 by themselves is named by them as the inspector shows them: `⟨E2 80⟩`. In a typed text `\n`,
`\t`, `\\` and `\uXXXX` are escapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

from msgspec import Meta

from ttchat_tui.domain.text import visible_piece

LogitBias: TypeAlias = Annotated[
    Mapping[Annotated[str, Meta(min_length=1, max_length=256)], Annotated[float, Meta(ge=-100.0, le=100.0)]],
    Meta(max_length=300),
]
"""Text of a token → what is added to its logit."""

BAN: Final = -100.0
"""A token with this bias cannot be drawn."""
BOOST: Final = 2.0
"""The usual boost: the odds of the token are multiplied by e², about 7."""

_BYTES: Final = re.compile(r"\u27e8([0-9A-F]{2}(?: [0-9A-F]{2})*)\u27e9")
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?")
_QUOTED: Final = re.compile(r'("(?:[^"\\]|\\.)+")((?:\s.*)?)')
_NAMED: Final = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}


def text_of(piece: bytes) -> str:
    """The text that names a token."""
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return f"\u27e8{piece.hex(' ').upper()}\u27e9"


def piece_of(text: str) -> bytes:
    """The inverse of `text_of`."""
    match = _BYTES.fullmatch(text)
    return bytes.fromhex(match[1]) if match else text.encode("utf-8", "replace")


def typed_text(typed: str) -> str:
    """What is typed for a token, in double quotes or without, with escapes.

    Raises:
        ValueError: there is no text, or an escape is unknown; says so.
    """
    if len(typed) > 1 and typed[0] == typed[-1] == '"':
        typed = typed[1:-1]
    text = _ESCAPE.sub(_unescaped, typed)
    if not text:
        raise ValueError("no text is given")
    return text


def typed_bias(typed: str) -> tuple[str, float]:
    """Text and amount of `TEXT=AMOUNT`.

    Raises:
        ValueError: says what is missing or wrong.
    """
    text, sign, amount = typed.rpartition("=")
    if not sign or not text:
        raise ValueError("give TEXT=AMOUNT")
    return typed_text(text), typed_amount(amount)


def typed_amount(typed: str) -> float:
    """Raises ValueError, which says what it takes."""
    try:
        amount = float(typed)
    except ValueError:
        amount = float("nan")
    if not BAN <= amount <= -BAN:
        raise ValueError(f"{typed.strip()!r} is no number from {BAN:g} to {-BAN:g}")
    return amount


def typed_boost(typed: str) -> tuple[str, float]:
    """Text and amount of `TEXT` or `TEXT AMOUNT`, the argument of `/boost`.

    Raises:
        ValueError: says what is wrong.
    """
    if quoted := _QUOTED.fullmatch(typed):
        last = quoted[2].strip()
        return typed_text(quoted[1]), _typed_number(last) if last else BOOST
    text, _, last = typed.rpartition(" ")
    if text.strip():
        return typed_text(text.rstrip()), _typed_number(last)
    return typed_text(typed), BOOST


def _typed_number(typed: str) -> float:
    if not _NUMBER.fullmatch(typed):
        raise ValueError(f"{typed} is no number")
    return typed_amount(typed)


def shown_text(text: str) -> str:
    """A token's text as the inspector shows it, in quotes: `"␣the"`."""
    return f'"{visible_piece(piece_of(text))}"'


def bias_words(text: str, amount: float) -> str:
    """`ban "␣the"`, `boost "⏎" 2.5`, `bias "x" -3`."""
    if amount <= BAN:
        return f"ban {shown_text(text)}"
    return f"{'boost' if amount > 0 else 'bias'} {shown_text(text)} {amount:g}"


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        code = int(escape[1:], 16)
        if 0xD800 <= code <= 0xDFFF:
            raise ValueError(f"\\{escape} is not a character")
        return chr(code)
    if escape not in _NAMED:
        raise ValueError(f"\\{escape} is not an escape")
    return _NAMED[escape]
