"""The text of `-p`: from the command line, from stdin, or both."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.text import decoded, why_no_text

STDIN: Final = "-"
_SHORT: Final = re.compile(r"-[A-Za-z]*p")
"""`-p`, also after other short flags: `-cp`."""


def with_stdin_named(arguments: Sequence[str], takes_value: Mapping[str, bool]) -> list[str]:
    """`arguments` with a `-` after each `-p` without text, that is, at the end of the line or before a flag.

    `takes_value`: whether each flag of the chat has a value. Text that begins with a hyphen is a flag if it is a known one
    or looks like a misspelt one. A Markdown list is text.
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
    """`-cm NAME`: switches, then a flag with a value."""
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


def prompt_text(prompt: str | None, template: str = "") -> str | None:
    """The prompt: the filled template, the text of `-p`, and piped stdin, with a blank line between; for `-p -`, stdin is
    that text. None if there is neither a template nor `-p`.

    Line ends around piped text are dropped, a byte order mark too; Windows line ends become `\\n`.

    Raises:
        ConfigError: the prompt is empty, or what is piped is no text.
    """
    if prompt is None and not template:
        return None
    stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin
    piped = _text_of(stdin.buffer.read()) if stdin else ""
    typed = "" if prompt in (None, STDIN) else decoded(prompt)
    text = "\n\n".join(part.strip("\r\n") for part in (template, typed, piped) if part.strip())
    if not text.strip():
        what = (
            "the prompt is empty"
            if stdin or prompt != STDIN
            else "there is no text, and nothing is piped to stdin"
        )
        raise ConfigError("-p", what)
    return text


def _text_of(piped: bytes) -> str:
    if why := why_no_text(piped):
        raise ConfigError("-p", f"stdin cannot be sent: {why[0]}. {why[1]}".strip())
    return piped.decode("utf-8-sig").replace("\r\n", "\n")
