"""The fenced code blocks of a message, for copying."""

from __future__ import annotations

from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_PARSER: Final = MarkdownIt("commonmark").enable("table")


def fenced_code(source: str) -> list[str]:
    """The contents of all fences in order, unchanged but for the last newline."""
    return [code for _, code in fences(source)]


def fences(source: str) -> list[tuple[str, str]]:
    """The language of each fence (empty if it names none), and its contents as `fenced_code` has them."""
    tokens: list[Token] = []
    text = source.replace("\r\n", "\n").replace("\r", "\n")
    _PARSER.block.parse(text, _PARSER, {}, tokens)
    return [
        (token.info.strip().partition(" ")[0], token.content.removesuffix("\n"))
        for token in tokens
        if token.type == "fence"
    ]
