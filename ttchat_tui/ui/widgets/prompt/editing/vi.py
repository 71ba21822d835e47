"""A part of vi: modes, counts, movements, operators on movements, one register, put, and visual selection.

POSIX (pubs.opengroup.org/onlinepubs/9699919799/utilities/vi.html) with vim's `v`, ctrl+r and `u` for each
command.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Final, Literal, NamedTuple

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, Outcome, line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.lines import (
    first_character,
    found,
    is_all_of_lines,
    joined,
    line_away,
)
from ttchat_tui.ui.widgets.prompt.editing.undo import Undo
from ttchat_tui.ui.widgets.prompt.editing.words import next_word, word_end, word_start

KEYS: Final = frozenset({"ctrl+r"})
"""The keys that no action can have with this way of editing."""

_COMMAND: Final = re.compile(
    r"(?P<count>[1-9]\d*)?(?:(?P<operator>[dcy])(?P<times>[1-9]\d*)?)?(?P<name>gg|[fFtTr].|[^\d]|0)",
    re.DOTALL,
)
_UNFINISHED: Final = re.compile(r"(?:[1-9]\d*)?(?:[dcy](?:[1-9]\d*)?)?[gfFtTr]?")

_SHORT: Final = {"x": "dl", "X": "dh", "D": "d$", "C": "c$", "s": "cl", "S": "cc", "Y": "yy"}

MOST: Final = 9_999
"""The highest count."""


class _Span(NamedTuple):
    """What an operator acts on: text[start:end], or the whole lines from `start` to `end`."""

    start: int
    end: int
    is_lines: bool = False


class Vi:
    """Begins in insert mode, in which all keys but escape are left to the field."""

    def __init__(self) -> None:
        self.mode: Literal["insert", "normal", "visual"] = "insert"
        self._typed = ""
        """The command so far: `2d`."""
        self._register = ""
        self._is_lines = False
        """The register has whole lines."""
        self._anchor = 0
        """Where the visual selection begins."""
        self._column: int | None = None
        """The column that j and k aim at."""
        self._sought = ""
        """The last search in a line: `fx`."""
        self._undo = Undo()
        """Its steps are commands; an insertion belongs to the command that begins it."""

    @property
    def label(self) -> str:
        return f"{self.mode} {self._typed}".rstrip()

    @property
    def is_writing(self) -> bool:
        return self.mode == "insert"

    def begin(self) -> None:
        self.mode, self._typed = "insert", ""

    def load(self, text: str) -> None:
        self._undo.forget(text)

    def press(self, key: str, character: str | None, buffer: Buffer) -> Outcome:
        if self.mode != "insert":
            self._undo.note(buffer.text)
        outcome = self._press(key, character, buffer)
        if self.mode != "insert" and isinstance(outcome, Buffer):
            self._undo.note(outcome.text)
        return outcome

    def _press(self, key: str, character: str | None, buffer: Buffer) -> Outcome:
        if buffer.anchor is not None:
            self._anchor = buffer.anchor
        if key == "escape":
            return self._escape(buffer)
        if self.mode == "insert":
            return None
        if key == "ctrl+r":
            self._typed = ""
            return self._stepped(self._undo.redo, 1, buffer)
        if key == "backspace":
            character = "h"
        if character is None or not character.isprintable():
            self._typed = ""
            return None
        self._typed += character
        if _UNFINISHED.fullmatch(self._typed) and not (self.mode == "visual" and character in "dcy"):
            return self._shown(buffer)
        typed, self._typed = self._typed, ""
        match = _COMMAND.fullmatch(typed)
        if match is None:
            return self._shown(buffer)
        given = [min(int(each[:5]), MOST) for each in (match["count"], match["times"]) if each]
        count = min(math.prod(given), MOST) if given else None
        if self.mode == "visual":
            return self._in_visual(match["operator"] or match["name"], count, buffer)
        return self._in_normal(match["operator"] or "", match["name"], count, buffer)

    # --- modes

    def _escape(self, buffer: Buffer) -> Outcome:
        """None in normal mode without a half-typed command: then escape is the app's."""
        before, typed = self.mode, self._typed
        self.mode, self._typed = "normal", ""
        if before == "normal":
            return buffer if typed else None
        text, at = buffer.text, buffer.at
        is_inside = before == "insert" and at > line_start(text, at)
        return self._in_line(text, at - 1 if is_inside else at)

    def _insert(self, text: str, at: int) -> Buffer:
        self.mode = "insert"
        return Buffer(text, at)

    def _in_line(self, text: str, at: int) -> Buffer:
        """In normal mode the cursor is on a character, unless the line has none."""
        at = min(at, len(text))
        return Buffer(text, max(line_start(text, at), min(at, line_end(text, at) - 1)))

    def _shown(self, buffer: Buffer) -> Buffer:
        anchor = min(self._anchor, len(buffer.text)) if self.mode == "visual" else None
        return Buffer(buffer.text, buffer.at, anchor)

    # --- commands

    def _stepped(self, step: Callable[[], Buffer | None], times: int, buffer: Buffer) -> Buffer:
        for _ in range(times):
            stepped = step()
            if stepped is None:
                break
            buffer = self._in_line(*stepped[:2])
        return buffer

    def _in_normal(self, operator: str, name: str, count: int | None, buffer: Buffer) -> Outcome:
        if not operator and name in _SHORT:
            operator, name = _SHORT[name]
        buffer = self._in_line(buffer.text, buffer.at)  # a click or the end key may have left it
        text, at = buffer.text, buffer.at
        if operator:
            span = self._span(operator, name, count, buffer)
            return self._in_line(text, at) if span is None else self._operate(operator, span, buffer)
        if name in "jk" and self._is_at_edge(name, buffer):
            return "newer" if name == "j" else "older"
        if (target := self._moved(name, count, buffer)) is not None:
            return self._in_line(text, target)
        if (changed := self._changed(name, count or 1, text, at)) is not None:
            return changed
        start, end = line_start(text, at), line_end(text, at)
        match name:
            case "i":
                return self._insert(text, at)
            case "a":
                return self._insert(text, min(at + 1, end))
            case "I":
                return self._insert(text, first_character(text, at))
            case "A":
                return self._insert(text, end)
            case "o":
                return self._insert(f"{text[:end]}\n{text[end:]}", end + 1)
            case "O":
                return self._insert(f"{text[:start]}\n{text[start:]}", start)
            case "v":
                self.mode, self._anchor = "visual", at
                return self._shown(buffer)
            case "p" | "P":
                return self._put(name == "p", count or 1, buffer)
            case "u":
                return self._stepped(self._undo.undo, count or 1, buffer)
            case _:
                return buffer

    def _changed(self, name: str, times: int, text: str, at: int) -> Buffer | None:
        """Replace or join characters; None if `name` does something else."""
        if name == "J":
            for _ in range(max(1, times - 1)):
                text, at = joined(text, at)
            return self._in_line(text, at)
        end = at + times
        if name[0] == "r" and end <= line_end(text, at):
            return Buffer(text[:at] + name[1] * times + text[end:], end - 1)
        if name == "~":
            end = min(end, line_end(text, at))
            return self._in_line(text[:at] + text[at:end].swapcase() + text[end:], end)
        return None

    def _in_visual(self, name: str, count: int | None, buffer: Buffer) -> Outcome:
        text, at = buffer.text, buffer.at
        low, high = sorted((min(self._anchor, len(text)), at))
        operator = {"d": "d", "x": "d", "c": "c", "s": "c", "y": "y"}.get(name)
        if operator is not None:
            self.mode = "normal"
            return self._operate(operator, _Span(low, min(len(text), high + 1)), buffer)
        if name == "v":
            self.mode = "normal"
        elif (target := self._moved(name, count, buffer)) is not None:
            return self._shown(Buffer(text, target))  # onto the newline too
        return self._shown(buffer)

    # --- movements

    def _moved(self, name: str, count: int | None, buffer: Buffer) -> int | None:
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
                if times > 1 and self._is_at_edge("j", buffer):
                    return at
                self._column = len(text)
                return line_end(text, line_away(text, at, times - 1, 0))
            case "gg" | "G":
                lines = text.count("\n")
                wanted = count - 1 if count else 0 if name == "gg" else lines
                return first_character(text, line_away(text, 0, min(wanted, lines), 0))
            case "w" | "b" | "e" | "W" | "B" | "E":
                move = {"w": next_word, "b": word_start, "e": word_end}[name.lower()]
                return _repeated(partial(move, is_big=name.isupper()), times, text, at)
            case ";" | ",":
                sought = self._sought if name == ";" else self._sought.swapcase()[:1] + self._sought[1:]
                return found(sought, times, text, at, is_repeated=True) if sought else None
            case _ if name[0] in "fFtT":
                self._sought = name
                return found(name, times, text, at)
            case _:
                return None

    @staticmethod
    def _is_at_edge(name: str, buffer: Buffer) -> bool:
        """There is no line below (j) or above (k)."""
        text, at = buffer.text, buffer.at
        return line_end(text, at) == len(text) if name == "j" else line_start(text, at) == 0

    # --- operators

    def _span(self, operator: str, name: str, count: int | None, buffer: Buffer) -> _Span | None:
        """What the operator acts on with the movement `name`; None if there is none."""
        text, at, times = buffer.text, buffer.at, count or 1
        if name == operator:
            if times > 1 and self._is_at_edge("j", buffer):
                return None
            return _Span(at, line_away(text, at, times - 1, 0), is_lines=True)
        if name in ("j", "k") and self._is_at_edge(name, buffer):
            return None
        if name == "$" and times > 1 and self._is_at_edge("j", buffer):
            return None
        if operator == "c" and name in ("w", "W") and at < len(text) and not text[at].isspace():
            name = "e" if name == "w" else "E"
            at -= 1  # a word of one character ends where the cursor is
        target = self._moved(name, count, Buffer(text, at))
        at = buffer.at
        if target is None or (name in ("b", "B") and target == at):
            return None
        low, high = sorted((at, target))
        if name in ("j", "k", "gg", "G"):
            return _Span(low, high, is_lines=True)
        starts_line = not text[line_start(text, low) : low].strip()
        if name in ("w", "W"):
            last = _repeated(partial(next_word, is_big=name == "W"), times - 1, text, at)
            high = min(high, line_end(text, last))  # over the last word of a line, to its end
            if last < len(text) and line_start(text, last) == line_end(text, last):  # an empty line is a word
                return _Span(low, high, is_lines=starts_line)
        if name in ("w", "b", "W", "B") and line_start(text, low) < line_start(text, high) == high:
            # An end at the start of a line is that of the line before, and lines that are whole are lines.
            return _Span(low, high - 1, is_lines=starts_line)
        kind = {";": self._sought[:1], ",": self._sought[:1].swapcase()}.get(name, name[0])
        high = min(len(text), high + (kind in ("e", "E", "f", "t")))
        return _Span(low, high, is_lines=operator == "d" and is_all_of_lines(text, low, high))

    def _operate(self, operator: str, span: _Span, buffer: Buffer) -> Buffer:
        text, start, end = buffer.text, span.start, span.end
        if span.is_lines:
            low, high = sorted((start, end))
            start, end = line_start(text, low), line_end(text, high)
        if start == end and not span.is_lines and operator != "c":
            return self._in_line(text, start)
        self._register, self._is_lines = text[start:end], span.is_lines
        if operator == "y":
            return self._in_line(text, min(buffer.at, span.start) if span.is_lines else start)
        if operator == "c":
            return self._insert(text[:start] + text[end:], start)
        if span.is_lines:  # with the newline after the lines, or before the last one
            start, end = (start, end + 1) if end < len(text) else (max(0, start - 1), end)
            rest = text[:start] + text[end:]
            return self._in_line(rest, first_character(rest, min(line_start(text, span.start), len(rest))))
        return self._in_line(text[:start] + text[end:], start)

    def _put(self, is_after: bool, times: int, buffer: Buffer) -> Buffer:
        text, at = buffer.text, buffer.at
        if not self._register and not self._is_lines:
            return buffer
        if self._is_lines:
            lines = "\n".join([self._register] * times)
            if is_after:
                at = line_end(text, at)
                put = f"{text[:at]}\n{lines}{text[at:]}"
                return self._in_line(put, first_character(put, at + 1))
            at = line_start(text, at)
            put = f"{text[:at]}{lines}\n{text[at:]}"
            return self._in_line(put, first_character(put, at))
        if is_after and at < line_end(text, at):
            at += 1
        put = text[:at] + self._register * times + text[at:]
        return self._in_line(put, at if "\n" in self._register else at + len(self._register) * times - 1)


def _repeated(move: Callable[[str, int], int], times: int, text: str, at: int) -> int:
    for _ in range(times):
        before, at = at, move(text, at)
        if at == before:
            break
    return at
