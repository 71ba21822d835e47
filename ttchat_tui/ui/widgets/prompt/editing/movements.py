"""vi's movements, and what an operator acts on with each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.lines import (
    first_character,
    found,
    is_all_of_lines,
    line_away,
)
from ttchat_tui.ui.widgets.prompt.editing.searches import search
from ttchat_tui.ui.widgets.prompt.editing.text_objects import NAMES, TextRange, matching_bracket, text_object
from ttchat_tui.ui.widgets.prompt.editing.words import next_word, word_end, word_start

_OTHER_WAY: Final = str.maketrans("/?", "?/")


class Movements:
    """With what the next one may need of the last."""

    def __init__(self) -> None:
        self._column: int | None = None
        """The column that j and k aim at."""
        self._sought = ""
        """The last search in a line: `fx`."""
        self._searched = ""
        """The last search, with its direction: `/words`."""

    def moved(self, name: str, count: int | None, buffer: Buffer) -> int | None:
        """Where the movement `name` leads; None if it is no movement."""
        text, at, times = buffer.text, buffer.at, count or 1
        column, self._column = self._column, None
        match name:
            case "h":
                return max(line_start(text, at), at - times)
            case "l" | " ":
                return min(line_end(text, at), at + times)
            case "j" | "k":
                self._column = at - line_start(text, at) if column is None else column
                return line_away(text, at, times if name == "j" else -times, self._column)
            case "0":
                return line_start(text, at)
            case "^":
                return first_character(text, at)
            case "$":
                self._column = len(text)
                if times > 1 and self.is_at_edge("j", buffer):
                    return at
                return line_end(text, line_away(text, at, times - 1, 0))
            case "gg" | "G":
                lines = text.count("\n")
                wanted = count - 1 if count else 0 if name == "gg" else lines
                return first_character(text, line_away(text, 0, min(wanted, lines), 0))
            case "w" | "b" | "e" | "W" | "B" | "E":
                move = {"w": next_word, "b": word_start, "e": word_end}[name.lower()]
                return _repeated(partial(move, is_big=name.isupper()), times, text, at)
            case "%":
                return self._percent(count, text, at)
            case "n" | "N":
                direction = self._searched[:1].translate(_OTHER_WAY if name == "N" else {})
                return search(direction, self._searched[1:], times, text, at) if direction else None
            case _ if name[0] in "/?":
                self._searched = name[0] + (name[1:].removesuffix("\n") or self._searched[1:])
                return search(name[0], self._searched[1:], times, text, at)
            case ";" | ",":
                sought = self._sought if name == ";" else self._sought.swapcase()[:1] + self._sought[1:]
                return found(sought, times, text, at, is_repeated=times == 1) if sought else None
            case _ if name[0] in "fFtT":
                self._sought = name
                return found(name, times, text, at)
            case _:
                return None

    @staticmethod
    def _percent(count: int | None, text: str, at: int) -> int | None:
        """The partner of a bracket; with a count, the line at that share of all lines."""
        if count is None:
            return matching_bracket(text, at)
        lines = text.count("\n") + 1
        return (
            first_character(text, line_away(text, 0, (count * lines + 99) // 100 - 1, 0))
            if count <= 100
            else None
        )

    @staticmethod
    def is_at_edge(name: str, buffer: Buffer) -> bool:
        """There is no line below (j) or above (k)."""
        text, at = buffer.text, buffer.at
        return line_end(text, at) == len(text) if name == "j" else line_start(text, at) == 0

    def span(self, operator: str, name: str, count: int | None, buffer: Buffer) -> TextRange | None:
        """What the operator acts on with the movement or the text object `name`; None if there is none."""
        span = self._span(operator, name, count, buffer)
        self._column = None
        return span

    def _span(self, operator: str, name: str, count: int | None, buffer: Buffer) -> TextRange | None:
        text, at, times = buffer.text, buffer.at, count or 1
        if len(name) == 2 and name[0] in "ia" and name[1] in NAMES:
            span = text_object(name, times, text, at)
            is_all = operator == "d" and span is not None and is_all_of_lines(text, span.start, span.end)
            return TextRange(span.start, span.end, is_lines=True) if span is not None and is_all else span
        if name == operator:
            if times > 1 and self.is_at_edge("j", buffer):
                return None
            return TextRange(at, line_away(text, at, times - 1, 0), is_lines=True)
        if name in ("j", "k") and self.is_at_edge(name, buffer):
            return None
        if name == "$" and times > 1 and self.is_at_edge("j", buffer):
            return None
        if operator == "c" and name in ("w", "W") and at < len(text) and not text[at].isspace():
            name = "e" if name == "w" else "E"
            at -= 1  # a word of one character ends where the cursor is
        target = self.moved(name, count, Buffer(text, at))
        at = buffer.at
        if target is None or (name in ("b", "B") and target == at):
            return None
        if name in ("b", "B") and target == 0 and text.startswith("\n"):
            before = _repeated(partial(word_start, is_big=name == "B"), times - 1, text, at)
            if before == 0:  # there are not so many words
                return None
        low, high = sorted((at, target))
        if name in ("j", "k", "gg", "G") or (name == "%" and count):
            return TextRange(low, high, is_lines=True)
        starts_line = not text[line_start(text, low) : low].strip()
        if name in ("w", "W"):
            last = _repeated(partial(next_word, is_big=name == "W"), times - 1, text, at)
            high = min(high, line_end(text, last))  # over the last word of a line, to its end
            if last < len(text) and line_start(text, last) == line_end(text, last):  # an empty line is a word
                return TextRange(low, high, is_lines=starts_line)
        if name[0] in "wbWBnN/?" and line_start(text, low) < line_start(text, high) == high:
            # An end at the start of a line is that of the line before, and lines that are whole are lines.
            return TextRange(low, high - 1, is_lines=starts_line)
        kind = {";": self._sought[:1], ",": self._sought[:1].swapcase()}.get(name, name[0])
        high = min(len(text), high + (kind in ("e", "E", "f", "t", "%")))
        return TextRange(low, high, is_lines=operator == "d" and is_all_of_lines(text, low, high))


def _repeated(move: Callable[[str, int], int], times: int, text: str, at: int) -> int:
    for _ in range(times):
        before, at = at, move(text, at)
        if at == before:
            break
    return at
