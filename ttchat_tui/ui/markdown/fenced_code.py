"""The fenced code blocks of a message, for copying."""

from __future__ import annotations

from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from ttchat_tui.domain.thoughts import Part, split_thoughts

_PARSER: Final = MarkdownIt("commonmark").enable("table")


FENCES_OF_A_THOUGHT: Final = 1_000_000
"""Fences of answers are counted from 0, those of thought `n` (from 0) from `n + 1` times this."""


def fenced_code(source: str) -> list[str]:
    """The contents of all fences of a reply's answer in order, unchanged but for the last newline."""
    return [code for _, code in fences(source)]


def fences(source: str) -> list[tuple[str, str]]:
    """The language of each fence (empty if it names none), and its contents as `fenced_code` has them."""
    return [fence for part in _parts(source) if not part.is_thought for fence in _fences_in(part.text)]


def code_at(source: str, number: int) -> str | None:
    """The contents of the fence that is drawn with this number; None if there is none."""
    thought, at = divmod(number, FENCES_OF_A_THOUGHT)
    if not thought:
        found = fences(source)
    else:
        thoughts = [part.text for part in _parts(source) if part.is_thought]
        found = _fences_in(thoughts[thought - 1]) if thought <= len(thoughts) else []
    return found[at][1] if at < len(found) else None


def _parts(source: str) -> list[Part]:
    return split_thoughts(source.replace("\r\n", "\n").replace("\r", "\n"))


def _fences_in(text: str) -> list[tuple[str, str]]:
    tokens: list[Token] = []
    _PARSER.block.parse(text, _PARSER, {}, tokens)
    return [
        (token.info.strip().partition(" ")[0], token.content.removesuffix("\n"))
        for token in tokens
        if token.type == "fence"
    ]
