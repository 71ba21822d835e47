"""Where the tags of a text are: in code, mentioned in prose, or placed as models place them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)")
_LINE_INDENT: Final = 4
"""Spaces before a line of indented code in Markdown."""
_EMPTY_LINE_NEXT: Final = re.compile(r" *\n\n")


class TagPlaces:
    """Answers about the tags of one text, which are asked for from its beginning to its end: then all answers together take
    linear time, also for thousands of tags in a line."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._line = _Line(0, -1, 0, 0, [])
        self._closers: dict[re.Pattern[str], _Closers] = {}

    def is_fenced(self, position: int) -> bool:
        """In a fenced code block that is closed. Where an open one would end is unknown."""
        after = bisect_right(self._fenced, position, key=lambda each: each[0])
        return after > 0 and position < self._fenced[after - 1][1]

    def is_code(self, tag: re.Match[str]) -> bool:
        """In a fence or between backticks."""
        ticks = bisect_left(self._line_at(tag.start()).ticks, tag.start())
        if ticks % 2 == 1:
            behind = self._line_at(tag.end()).ticks
            if bisect_left(behind, tag.end()) < len(behind):
                return True
        return self.is_fenced(tag.start())

    def is_mentioned(self, tag: re.Match[str]) -> bool:
        """Named in a sentence."""
        before = self.text[max(0, tag.start() - 1) : tag.start()]
        after = self.text[tag.end() : tag.end() + 1]
        return (before == " " and after not in ("", "\n")) or before in ("'", '"', "`", "“", "(")

    def is_alone(self, tag: re.Match[str]) -> bool:
        """On a line of its own."""
        return self._is_first(tag) and self._is_last(tag)

    def is_at_an_edge(self, tag: re.Match[str]) -> bool:
        """On a line of its own, at the beginning of a line and followed directly by text, or at the end of a paragraph."""
        if tag.group().startswith(("<|", "◁")):  # never in prose
            return True
        if self._is_first(tag):
            after = self.text[tag.end() : tag.end() + 1]
            return tag.start() - self._line_at(tag.start()).begin < _LINE_INDENT and (
                self._is_last(tag) or after.isalnum() or after in "*_#$\\" or not after.isascii()
            )
        is_paragraph_end = self._is_last(tag) and _EMPTY_LINE_NEXT.match(self.text, tag.end()) is not None
        return is_paragraph_end and not self.is_mentioned(tag) and self.text[tag.start() - 1] != " "

    def first_closer(self, closer: re.Pattern[str], start: int) -> re.Match[str] | None:
        """The first closing tag from `start` on that is neither code nor mentioned. If there is none: the first one, or, where
        some are code, the first that is alone. A fence that opens in the thought and closes in the answer would hide the tag
        between them as code."""
        if closer not in self._closers:
            self._closers[closer] = _Closers(self, closer)
        return self._closers[closer].first(start)

    def _is_first(self, tag: re.Match[str]) -> bool:
        return self._line_at(tag.start()).first >= tag.start()

    def _is_last(self, tag: re.Match[str]) -> bool:
        return self._line_at(tag.end()).last <= tag.end()

    def _line_at(self, position: int) -> _Line:
        line = self._line
        if not line.begin <= position <= line.end:
            begin, end = self.text.rfind("\n", 0, position) + 1, self.text.find("\n", position)
            end = len(self.text) if end < 0 else end
            words = self.text[begin:end]
            ticks = [begin + tick.start() for tick in re.finditer("`", words)] if "`" in words else []
            first, last = end - len(words.lstrip()), begin + len(words.rstrip())
            line = self._line = _Line(begin, end, first, last, ticks)
        return line

    @cached_property
    def _fenced(self) -> list[tuple[int, int]]:
        return list(_fences(self.text)) if "```" in self.text or "~~~" in self.text else []


class _Line(NamedTuple):
    """Offsets in the text."""

    begin: int
    end: int
    first: int
    """Of the first character that is not blank; the end if there is none."""
    last: int
    """Behind the last such character; the beginning if there is none."""
    ticks: list[int]
    """Of the backticks."""


class _Closers:
    """The closing tags of one pattern, found as far as they are needed."""

    def __init__(self, places: TagPlaces, closer: re.Pattern[str]) -> None:
        self._places = places
        self._next = closer.finditer(places.text)
        self._plain: list[re.Match[str]] = []
        """Neither code nor mentioned."""
        self._other: list[re.Match[str]] = []
        self._alone: list[re.Match[str]] = []
        """Of the others."""
        self._last_code = -1
        """Where the last one in code begins."""

    def first(self, start: int) -> re.Match[str] | None:
        """As `TagPlaces.first_closer`."""
        if (plain := _at_or_after(self._plain, start)) is not None:
            return plain
        for tag in self._next:
            is_code = self._places.is_code(tag)
            if not is_code and not self._places.is_mentioned(tag):
                self._plain.append(tag)
                if tag.start() >= start:
                    return tag
            else:
                self._other.append(tag)
                self._last_code = tag.start() if is_code else self._last_code
                if self._places.is_alone(tag):
                    self._alone.append(tag)
        return _at_or_after(self._alone if self._last_code >= start else self._other, start)


def _at_or_after(tags: list[re.Match[str]], start: int) -> re.Match[str] | None:
    at = bisect_left(tags, start, key=lambda tag: tag.start())
    return tags[at] if at < len(tags) else None


def _fences(text: str) -> Iterator[tuple[int, int]]:
    position, begun, marker = 0, 0, ""
    for line in text.splitlines(keepends=True):
        match = _FENCE.match(line)
        if match and not marker:
            if "`" not in match[2]:
                begun, marker = position, match[1]
        elif match and match[1].startswith(marker) and not match[2].strip():
            yield begun, position + len(line)
            marker = ""
        position += len(line)
