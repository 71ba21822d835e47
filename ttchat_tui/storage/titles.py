"""A conversation's title, from the first message."""

from __future__ import annotations

import re
from typing import Final

TITLE_LENGTH: Final = 60

_MARKUP_ONLY: Final = re.compile(r"[-=*_+|:~>#\s]*")
"""Rules, the underlines of headings, the rule rows of tables, markers without words."""
_FENCE: Final = re.compile(r"(`{3,}[^`]*|~{3,}.*)")
_MARKERS: Final = re.compile(r"(?:#{1,6}(?=\s|$)|>|[-*+](?=\s|$)|\[[ xX]\](?=\s|$)|\|)\s*")
"""What a line may begin with, again and again: of headings, quotes, bullets, tasks and table rows."""
_CODE: Final = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_EMPHASIS: Final = re.compile(r"(?<![\w*])(\*{1,3})([^\s*](?:[^*]*[^\s*])?)\1(?![\w*])")
_UNDERLINED: Final = re.compile(r"(?<![\w_])(_{1,3})([^\s_](?:[^_]*[^\s_])?)\1(?![\w_.(])")
_STRUCK: Final = re.compile(r"~~(?=\S)(.+?)(?<=\S)~~")


def title_from(content: str) -> str:
    """The first line that says something, without Markdown's markers, cut to `TITLE_LENGTH` characters at a word if
    that leaves a half of it. Where every line is only markup: the first one as it is."""
    lines = [" ".join(line.split()) for line in content.splitlines() if line.strip()]
    line = next((words for line in lines if (words := _words_of(line))), lines[0] if lines else "")
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    words = cut if line[TITLE_LENGTH - 1] == " " else cut.rpartition(" ")[0]
    return (words if len(words) >= TITLE_LENGTH // 2 else cut).rstrip() + "…"


def _words_of(line: str) -> str:
    """`line` without its markers; empty if it has nothing else."""
    if _MARKUP_ONLY.fullmatch(line) or _FENCE.fullmatch(line):
        return ""
    while (marker := _MARKERS.match(line)) is not None:
        line = line[marker.end() :]
    if _FENCE.fullmatch(line):
        return ""
    line = re.sub(r"\s*(?:\||(?<=\s)#+)$", "", line)
    line = _CODE.sub(r"\2", line)
    for marked, words in ((_EMPHASIS, r"\2"), (_UNDERLINED, r"\2"), (_STRUCK, r"\1")):
        line = marked.sub(words, line)
    return line.strip()
