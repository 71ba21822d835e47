"""Movements by words: runs of letters, digits and `_`, and runs of other characters; big words are runs of both. An empty line
counts as one (POSIX vi)."""

from __future__ import annotations


def next_word(text: str, at: int, *, is_big: bool = False) -> int:
    """The start of the word after this one; the end of the text if there is none."""
    end = at
    while (
        at < len(text)
        and kind_of(text[at], is_big)
        and kind_of(text[end], is_big) == kind_of(text[at], is_big)
    ):
        end = at
        at += 1
    start = at
    while at < len(text) and not kind_of(text[at], is_big):
        if at > start and _is_empty_line(text, at):
            return at
        at += 1
    return at


def word_start(text: str, at: int, *, is_big: bool = False) -> int:
    """The start of this word, or of the one before if the cursor is there already."""
    at -= 1
    while at > 0 and not kind_of(text[at], is_big) and not _is_empty_line(text, at):
        at -= 1
    while at > 0 and kind_of(text[at], is_big) and kind_of(text[at - 1], is_big) == kind_of(text[at], is_big):
        at -= 1
    return max(0, at)


def word_end(text: str, at: int, *, is_big: bool = False) -> int:
    """The last character of this word, or of the next one if the cursor is there already; the end of the text if there is
    none."""
    at += 1
    while at < len(text) and not kind_of(text[at], is_big):
        at += 1
    while at + 1 < len(text) and kind_of(text[at + 1], is_big) == kind_of(text[at], is_big):
        at += 1
    return min(at, len(text))


def kind_of(character: str, is_big: bool) -> int:
    """0: blank."""
    return 0 if character.isspace() else 1 if is_big or character.isalnum() or character == "_" else 2


def _is_empty_line(text: str, at: int) -> bool:
    return text[at] == "\n" and (at == 0 or text[at - 1] == "\n")
