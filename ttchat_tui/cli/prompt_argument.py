"""`-p`: its text on the command line, or on stdin."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import typer

from ttchat_tui.domain.text import decoded

STDIN: Final = "-"
_SHORT: Final = re.compile(r"-[A-Za-z]*p")
"""`-p`, also behind other short flags: `-cp`."""


def with_stdin_named(arguments: Sequence[str], takes_value: Mapping[str, bool]) -> list[str]:
    """`arguments` with a `-` behind each `-p` that has no text of its own, since it ends the line or a flag follows.

    `takes_value`: each flag of the chat, and whether it has a value. A text that begins with a hyphen is a flag if there is
    such a flag, or if it looks like one that is misspelt; a list of Markdown is a text.
    """
    found: list[str] = []
    left = list(arguments)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        flag = left.pop(0)
        found.append(flag)
        if _is_prompt(flag, takes_value):
            found.append(left.pop(0) if left and not _is_flag(left[0], takes_value) else STDIN)
        elif left and (takes_value.get(flag) or _ends_with_value(flag, takes_value)):
            found.append(left.pop(0))
    return found + left


def _ends_with_value(flag: str, takes_value: Mapping[str, bool]) -> bool:
    """`-cm NAME`: switches, and last a flag that has a value."""
    if flag.startswith("--"):
        return False
    *others, last = [f"-{letter}" for letter in flag[1:]]
    return takes_value.get(last, False) and not any(takes_value.get(other, True) for other in others)


def _is_prompt(flag: str, takes_value: Mapping[str, bool]) -> bool:
    if flag == "--prompt":
        return True
    others = [f"-{letter}" for letter in flag[1:-1]]
    return _SHORT.fullmatch(flag) is not None and not any(takes_value.get(other, True) for other in others)


def _is_flag(text: str, known: Collection[str]) -> bool:
    if not text.startswith("-") or text == STDIN or any(character.isspace() for character in text):
        return False
    return (text.startswith("--") and (text == "--" or text.strip("-") != "")) or text[:2] in known


def prompt_text(prompt: str | None) -> str | None:
    """`-p -` is stdin alone; piped stdin is appended to any other text, a blank line between. Line ends around what was
    piped are the shell's, not the prompt's; those of Windows, and its byte order mark, are no part of a text."""
    if prompt is None:
        return None
    stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin
    piped = stdin.buffer.read().decode("utf-8-sig", "replace").replace("\r\n", "\n") if stdin else ""
    parts = (piped,) if prompt == STDIN else (decoded(prompt), piped)
    text = "\n\n".join(part.strip("\r\n") for part in parts if part.strip())
    if not text.strip():
        what = (
            "the prompt is empty" if stdin or prompt != STDIN else "no text is given, and none piped to stdin"
        )
        raise typer.BadParameter(what, param_hint="-p")
    return text
