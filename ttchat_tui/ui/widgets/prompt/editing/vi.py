"""A part of vi: modes, counts, registers, movements, searches and text objects with and without operators, repetition with `.`.

POSIX (pubs.opengroup.org/onlinepubs/9699919799/utilities/vi.html) with vim's `v`, `V`, text objects, ctrl+r and `u` for each
command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from ttchat_tui.ui.widgets.prompt.editing.buffer import Buffer, Outcome, difference, line_end, line_start
from ttchat_tui.ui.widgets.prompt.editing.lines import first_character, joined
from ttchat_tui.ui.widgets.prompt.editing.movements import Movements
from ttchat_tui.ui.widgets.prompt.editing.registers import NO_CLIPBOARD, Clipboard, Register, Registers
from ttchat_tui.ui.widgets.prompt.editing.text_objects import TextRange
from ttchat_tui.ui.widgets.prompt.editing.undo import Undo
from ttchat_tui.ui.widgets.prompt.editing.vi_commands import (
    INSERTS,
    MOST_INSERTED,
    Command,
    TextChange,
    extent_of,
    is_line,
    is_unfinished,
    parse,
    span_of,
)

KEYS: Final = frozenset({"ctrl+r"})
"""The keys that no action can have with this way of editing."""


class Vi:
    """Begins in insert mode, in which all keys but escape are left to the field."""

    def __init__(self, clipboard: Clipboard = NO_CLIPBOARD) -> None:
        self.mode: Literal["insert", "normal", "visual", "visual line"] = "insert"
        self._typed = ""
        """The command so far: `2d`."""
        self._registers = Registers(clipboard)
        self._anchor = 0
        """Where the visual selection begins."""
        self._cursor: tuple[int, int] | None = None
        """In a selection of lines: where the cursor is shown, and where it is."""
        self._movements = Movements()
        self._undo = Undo()
        """Its steps are commands; an insertion belongs to the command that begins it."""
        self._last: Command | None = None
        """What `.` repeats."""
        self._begun: tuple[Command, Buffer] | None = None
        """The command whose insertion is being written, and the text where it began."""

    @property
    def label(self) -> str:
        return f"{self.mode} {self._typed}".rstrip()

    @property
    def is_writing(self) -> bool:
        return self.mode == "insert"

    @property
    def takes_enter(self) -> bool:
        return is_line(self._typed)

    @property
    def _is_selecting(self) -> bool:
        return self.mode in ("visual", "visual line")

    def begin(self) -> None:
        self.mode, self._typed, self._begun = "insert", "", None

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
        if self._cursor is not None and self._is_selecting and buffer.at == self._cursor[0]:
            buffer = Buffer(buffer.text, self._cursor[1])
        elif buffer.anchor is not None:
            self._anchor = buffer.anchor
        self._cursor = None
        if key == "escape":
            return self._escape(buffer)
        if self.mode == "insert":
            return None
        if key == "ctrl+r":
            self._typed = ""
            return self._stepped(self._undo.redo, 1, buffer)
        if self.takes_enter and key in ("enter", "backspace"):
            self._typed = self._typed[:-1] if key == "backspace" else f"{self._typed}\n"
            return self._shown(buffer) if key == "backspace" else self._perform(buffer)
        if key == "backspace":
            character = "h"
        if character is None or not character.isprintable():
            self._typed = ""
            return None
        self._typed += character
        if is_unfinished(self._typed, is_selecting=self._is_selecting):
            return self._shown(buffer)
        return self._perform(buffer)

    def _perform(self, buffer: Buffer) -> Outcome:
        """The command is typed."""
        typed, self._typed = self._typed, ""
        command = parse(typed, is_selecting=self._is_selecting)
        if command is None:
            return self._shown(buffer)
        if self._is_selecting:
            return self._in_visual(command, buffer)
        buffer = self._in_line(buffer.text, buffer.at)  # a click or the end key may have left it
        if (command.operator, command.name) == ("", "."):
            return self._again(command.times, command.register, buffer)
        return self._run(command, buffer)

    # --- modes

    def _escape(self, buffer: Buffer) -> Outcome:
        """None in normal mode without a half-typed command: then escape is the app's."""
        before, typed = self.mode, self._typed
        is_given_up = self.takes_enter
        self._typed = ""
        if is_given_up and self._is_selecting:
            return self._shown(buffer)
        self.mode = "normal"
        if before == "normal":
            return buffer if typed else None
        if before == "insert":
            buffer = self._end_insertion(buffer)
        text, at = buffer.text, buffer.at
        is_inside = before == "insert" and at > line_start(text, at)
        return self._in_line(text, at - 1 if is_inside else at)

    def _end_insertion(self, buffer: Buffer) -> Buffer:
        """Keep what was written for `.`, and write it as often as the command's count says."""
        begun, self._begun = self._begun, None
        if begun is None:
            return buffer
        command, before = begun
        at, more = before.at, len(buffer.text) - len(before.text)
        if more >= 0 and buffer.text == before.text[:at] + buffer.text[at : at + more] + before.text[at:]:
            written = buffer.text[at : at + more]
            edit = TextChange(0, 0, written)
            is_plain = not command.operator and command.extent is None
            if is_plain and command.times and command.times > 1:
                between = "\n" if command.name in "oO" else ""
                times = min(command.times, 1 + MOST_INSERTED // max(1, more))
                repeated = between.join([written] * times)
                end = at + len(repeated)
                buffer = Buffer(before.text[:at] + repeated + before.text[at:], end)
        else:
            start, end, written = difference(before.text, buffer.text)
            edit = TextChange(start - at, end - at, written)
        self._last = command._replace(edit=edit)
        return buffer

    def _insert(self, text: str, at: int) -> Buffer:
        self.mode = "insert"
        return Buffer(text, at)

    def _in_line(self, text: str, at: int) -> Buffer:
        """In normal mode the cursor is on a character, unless the line has none."""
        at = min(at, len(text))
        return Buffer(text, max(line_start(text, at), min(at, line_end(text, at) - 1)))

    def _shown(self, buffer: Buffer) -> Buffer:
        text, at, anchor = buffer.text, buffer.at, min(self._anchor, len(buffer.text))
        if self.mode == "visual line":
            is_down = anchor <= at
            start, end = line_start(text, min(anchor, at)), line_end(text, max(anchor, at))
            self._cursor = (end if is_down else start, at)
            return Buffer(text, self._cursor[0], start if is_down else max(start, end - 1))
        return Buffer(text, at, anchor if self.mode == "visual" else None)

    # --- commands

    def _run(self, command: Command, buffer: Buffer) -> Outcome:
        """In normal mode."""
        outcome = self._in_normal(command, buffer)
        if not isinstance(outcome, Buffer):
            return outcome
        if self.mode == "insert":
            self._begun = (command, outcome)
        elif outcome.text != buffer.text and command.name != "u":
            self._last = command
        return outcome

    def _again(self, count: int | None, register: str, buffer: Buffer) -> Outcome:
        """Do what the last change did, here."""
        if self._last is None:
            return buffer
        last = self._last
        command = last._replace(register=register or last.register)
        if count is not None:
            command = command._replace(times=count)
        if command.extent is not None:
            outcome: Outcome = self._act_on_selection(command, span_of(command.extent, buffer), buffer)
            if self.mode == "insert" and isinstance(outcome, Buffer):
                self._begun = (command, outcome)
        else:
            outcome = self._run(command, buffer)
        if self.mode == "insert" and isinstance(outcome, Buffer) and command.edit is not None:
            text, (start, end, written) = outcome.text, command.edit
            start, end = max(0, outcome.at + start), max(0, outcome.at + end)
            outcome = self._escape(Buffer(text[:start] + written + text[end:], start + len(written)))
        has_failed = self.mode == "normal" and isinstance(outcome, Buffer) and outcome.text == buffer.text
        self._last = last if has_failed else command
        return outcome

    def _stepped(self, step: Callable[[], Buffer | None], times: int, buffer: Buffer) -> Buffer:
        for _ in range(times):
            stepped = step()
            if stepped is None:
                break
            buffer = self._in_line(*stepped[:2])
        return buffer

    def _in_normal(self, command: Command, buffer: Buffer) -> Outcome:
        name, count, text, at = command.name, command.times, buffer.text, buffer.at
        if command.operator:
            span = self._movements.span(command.operator, name, count, buffer)
            return buffer if span is None else self._operate(command.operator, span, command.register, buffer)
        if name in "jk" and self._movements.is_at_edge(name, buffer):
            return "newer" if name == "j" else "older"
        if (target := self._movements.moved(name, count, buffer)) is not None:
            return self._in_line(text, target)
        if (changed := self._changed(name, count or 1, text, at)) is not None:
            return changed
        if name in INSERTS:
            return self._inserting(name, text, at)
        match name:
            case "v" | "V":
                self.mode, self._anchor = "visual" if name == "v" else "visual line", at
                return self._shown(buffer)
            case "p" | "P":
                return self._put(name == "p", count or 1, self._registers.content(command.register), buffer)
            case "u":
                return self._stepped(self._undo.undo, count or 1, buffer)
            case _:
                return buffer

    def _inserting(self, name: str, text: str, at: int) -> Buffer:
        start, end = line_start(text, at), line_end(text, at)
        match name:
            case "o":
                return self._insert(f"{text[:end]}\n{text[end:]}", end + 1)
            case "O":
                return self._insert(f"{text[:start]}\n{text[start:]}", start)
            case "a":
                return self._insert(text, min(at + 1, end))
            case "I":
                return self._insert(text, first_character(text, at))
            case _:
                return self._insert(text, at if name == "i" else end)

    def _changed(self, name: str, times: int, text: str, at: int) -> Buffer | None:
        """Replace or join characters; None if `name` does something else."""
        if name == "J":
            if times > 2 and line_end(text, at) == len(text):
                return Buffer(text, line_start(text, at))  # as vim does
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

    # --- selections

    def _in_visual(self, command: Command, buffer: Buffer) -> Outcome:
        name, text, at = command.name, buffer.text, buffer.at
        low, high = sorted((min(self._anchor, len(text)), at))
        if name in ("d", "x", "c", "s", "y", "~", "J"):
            span = TextRange(low, min(len(text), high + 1))
            if self.mode == "visual line" or name == "J":
                is_upward = at == low and "\n" in text[low:high]  # then the cursor stays in its column
                start = low if is_upward or self.mode == "visual" else line_start(text, low)
                span = TextRange(start, high, is_lines=True)
            self.mode = "normal"
            command = command._replace(extent=extent_of(low, high, text, is_lines=span.is_lines))
            outcome = self._act_on_selection(command, span, buffer)
            if self.mode == "insert":
                self._begun = (command, outcome)
            elif outcome.text != text:
                self._last = command
            return outcome
        if name in ("v", "V"):
            mode: Literal["visual", "visual line"] = "visual" if name == "v" else "visual line"
            self.mode = "normal" if self.mode == mode else mode
        elif name[0] in "ia":
            return self._select_object(command, buffer)
        elif (target := self._movements.moved(name, command.times, buffer)) is not None:
            is_to_blank = name == "^" and target == line_end(text, target)
            return self._shown(
                self._in_line(text, target) if is_to_blank else Buffer(text, target)
            )  # or its newline
        return self._shown(buffer)

    def _select_object(self, command: Command, buffer: Buffer) -> Buffer:
        """Select a text object, or the next one too if more than a character is selected."""
        is_more = self._anchor != buffer.at
        at = min(buffer.at + is_more, len(buffer.text))
        span = self._movements.span("v", command.name, command.times, Buffer(buffer.text, at))
        if span is None or (span.start == span.end and not span.is_lines):
            return self._shown(buffer)
        if not is_more:
            self._anchor = span.start
        if span.is_lines and command.name[1] == "p":
            self.mode = "visual line"
        elif span.is_lines:
            span = TextRange(span.start, line_end(buffer.text, span.end) + 1)
        return self._shown(Buffer(buffer.text, span.end if span.is_lines else span.end - 1))

    def _act_on_selection(self, command: Command, span: TextRange, buffer: Buffer) -> Buffer:
        text, start, end = buffer.text, span.start, span.end
        match command.name:
            case "J":
                for _ in range(max(1, text.count("\n", start, end))):
                    text, start = joined(text, start)
                return self._in_line(text, start)
            case "~":
                if span.is_lines:
                    start, end = line_start(text, start), line_end(text, end)
                return self._in_line(text[:start] + text[start:end].swapcase() + text[end:], span.start)
            case name:
                operator = {"x": "d", "s": "c"}.get(name, name)
                return self._operate(operator, span, command.register, buffer)

    # --- operators

    def _operate(self, operator: str, span: TextRange, register: str, buffer: Buffer) -> Buffer:
        text, start, end = buffer.text, span.start, span.end
        if span.is_lines:
            low, high = sorted((start, end))
            start, end = line_start(text, low), line_end(text, high)
        if start == end and not span.is_lines and operator == "d":
            return self._in_line(text, start)
        self._registers.keep(register, Register(text[start:end], span.is_lines))
        if operator == "y":
            return self._in_line(text, span.start)
        if operator == "c":
            return self._insert(text[:start] + text[end:], start)
        if span.is_lines:  # with the newline after the lines, or before the last one
            start, end = (start, end + 1) if end < len(text) else (max(0, start - 1), end)
            rest = text[:start] + text[end:]
            return self._in_line(rest, first_character(rest, min(line_start(text, span.start), len(rest))))
        return self._in_line(text[:start] + text[end:], start)

    def _put(self, is_after: bool, times: int, register: Register, buffer: Buffer) -> Buffer:
        text, at = buffer.text, buffer.at
        if not register:
            return buffer
        times = min(times, 1 + MOST_INSERTED // max(1, len(register.text)))
        if register.is_lines:
            lines = "\n".join([register.text] * times)
            if is_after:
                at = line_end(text, at)
                put = f"{text[:at]}\n{lines}{text[at:]}"
                return self._in_line(put, first_character(put, at + 1))
            at = line_start(text, at)
            put = f"{text[:at]}{lines}\n{text[at:]}"
            return self._in_line(put, first_character(put, at))
        if is_after and at < line_end(text, at):
            at += 1
        put = text[:at] + register.text * times + text[at:]
        return self._in_line(put, at if "\n" in register.text else at + len(register.text) * times - 1)
