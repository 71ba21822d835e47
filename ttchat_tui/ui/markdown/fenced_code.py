"""The fenced code blocks of a message, for copying."""

from __future__ import annotations

from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ttchat_tui.domain.thoughts import split_thoughts

_PARSER: Final = MarkdownIt("commonmark").enable("table")


FENCES_OF_THOUGHTS: Final = 1_000_000
"""The number of the first fence in thoughts: those of answers are counted without them."""


def fenced_code(source: str) -> list[str]:
    """The contents of all fences of a reply's answer in order, unchanged but for the last newline."""
    return [code for _, code in fences(source)]


def fences(source: str) -> list[tuple[str, str]]:
    """The language of each fence (empty if it names none), and its contents as `fenced_code` has them."""
    return _fences_in(source, of_thoughts=False)


def code_at(source: str, number: int) -> str | None:
    """The contents of the fence that is drawn with this number; None if there is none."""
    is_thought = number >= FENCES_OF_THOUGHTS
    found = _fences_in(source, of_thoughts=is_thought)
    at = number - FENCES_OF_THOUGHTS if is_thought else number
    return found[at][1] if at < len(found) else None


def _fences_in(source: str, *, of_thoughts: bool) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for part in split_thoughts(source.replace("\r\n", "\n").replace("\r", "\n")):
        if part.is_thought == of_thoughts:
            tokens: list[Token] = []
            _PARSER.block.parse(part.text, _PARSER, {}, tokens)
            found += [
                (token.info.strip().partition(" ")[0], token.content.removesuffix("\n"))
                for token in tokens
                if token.type == "fence"
            ]
    return found
