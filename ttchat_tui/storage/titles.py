"""A conversation's title, from the first message."""

from __future__ import annotations

import itertools
import re
import unicodedata
from typing import Final

from ttchat_tui.domain.text import without_hidden

TITLE_LENGTH: Final = 60

_LONGEST_LINE: Final = 1000
"""Characters of a line that are read: a paste may be one line of a megabyte."""

_FENCE: Final = re.compile(r"(`{3,}[^`]*|~{3,}.*)")
_TAGS: Final = re.compile(r"(?:<!--(?:(?!-->).)*(?:-->|$)|<!?/?[A-Za-z][\w-]*(?:\s[^<>]*|/)?>|\s)+")
"""HTML tags with nothing between them. An address in angle brackets does not match."""
_RULE: Final = re.compile(r"[#>*_=~|:+\-\s]*")
"""A rule, the line below a heading, a table's, or markers without text."""
_MARKERS: Final = re.compile(r"(?:#{1,6}(?=\s|$)|>|[-*+](?=\s|$)|\[[ xX]\](?=\s|$)|\|)\s*")
"""A marker at the start of a line: heading, quote, bullet, task or table row. A line may have several."""
_CODE: Final = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LINK: Final = re.compile(r"(?<![\w\\])!?\[([^\[\]]*)\]\((?:[^\s()]|\([^\s()]*\))+\)(?!\w)")
_EMPHASIS: Final = re.compile(r"(?<![\w*\\])(\*{1,3})([^\s*](?:[^*]*[^\s*\\])?)\1(?![\w*])")
_UNDERLINED: Final = re.compile(r"(?<![\w_\\])(_{1,3})([^\s_](?:[^_]*[^\s_\\])?)\1(?![\w_.(])")
_STRUCK: Final = re.compile(r"~~(?=\S)((?:(?!~~).)+)(?<=\S)~~")


def title_from(content: str) -> str:
    """The first line with words, without Markdown markers, cut to `TITLE_LENGTH` characters: at a word if that keeps at
    least half of them. If every line is only markup, the first one unchanged."""
    tidied = (" ".join(without_hidden(each)[0].split())[:_LONGEST_LINE] for each in content.splitlines())
    lines = (each for each in tidied if each)
    first = next(lines, "")
    line = next((words for each in itertools.chain((first,), lines) if (words := _words_of(each))), first)
    return _cut(line)


def beginning_of(content: str) -> str:
    """As `title_from`, but from the first visible characters on, with the lines joined: also brackets on a line of their own,
    with which code and JSON begin. Without lines that are only Markdown."""
    lines = (" ".join(without_hidden(each)[0].split())[:_LONGEST_LINE] for each in content.splitlines())
    kept = (_words_of(line) or ("" if _is_markup(line) else line) for line in lines)
    return _cut(" ".join(itertools.islice(filter(None, kept), TITLE_LENGTH))) or title_from(content)


def _is_markup(line: str) -> bool:
    return bool(_FENCE.fullmatch(line) or _TAGS.fullmatch(line) or _RULE.fullmatch(line))


def _cut(line: str) -> str:
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    words = cut if line[TITLE_LENGTH - 1] == " " else cut.rpartition(" ")[0]
    return (words if len(words) >= TITLE_LENGTH // 2 else cut).rstrip() + "…"


def plain_words(text: str) -> str:
    """`text` on one line, without Markdown markers and lines that are only markup, such as those around code."""
    lines = (" ".join(line.split())[:_LONGEST_LINE] for line in text.splitlines())
    return " ".join(words for line in lines if (words := _words_of(line))) or " ".join(text.split())


def _words_of(line: str) -> str:
    """`line` without its markers; empty if it has nothing else."""
    if _FENCE.fullmatch(line) or _TAGS.fullmatch(line):
        return ""
    while (marker := _MARKERS.match(line)) is not None:
        line = line[marker.end() :]
    if _FENCE.fullmatch(line):
        return ""
    line = re.sub(r"\s*(?:\||(?<=\s)#+)$", "", line)
    line = _CODE.sub(r"\2", line)
    for marked, words in ((_LINK, r"\1"), (_EMPHASIS, r"\2"), (_UNDERLINED, r"\2"), (_STRUCK, r"\1")):
        line = marked.sub(words, line)
    return line.strip() if any(map(_is_meaningful, line)) else ""


def _is_meaningful(char: str) -> bool:
    """True for letters, numbers and emoji; false for rules, brackets and heading underlines."""
    category = unicodedata.category(char)
    return category[0] in "LN" or category == "So"
