"""Textual's parser (8.2.8) of what comes from a terminal, for keys of any layout and for whatever else may come.

Its own types what it does not know into the prompt, waits in vain behind half a sequence, and ends by an error at codes
that it does not expect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, cast

from textual import _xterm_parser, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.keys import Keys, _character_to_key
from textual.message import Message

from ttchat_tui.ui.keys import EDITING_KEYS
from ttchat_tui.ui.textual_patches import terminal_replies
from ttchat_tui.ui.textual_patches.key_reports import readable

_ESC: Final = "\x1b"
_CUT: Final = "\udc1b"
"""Stands for an ESC inside a sequence; no decoder gives it."""
_TERMINATOR: Final = "\x1b\\"
_NOTHING: Final = events.Key(Keys.Ignore, None)
_LONGEST_KEY: Final = 64
"""Characters. Textual's pattern for keys takes the square of the length."""
_LARGEST: Final = 10_000
"""Columns or rows of a terminal: more is no terminal's report."""


def alt_key(character: str) -> events.Key:
    """Alt and a printable character: a command, never text."""
    name = character if character.isalnum() else _character_to_key(character)
    shift = "shift+" if len(name) == 1 and name != name.lower() else ""
    return events.Key(f"alt+{shift}{name.lower()}", None)


class TerminalParser(XTermParser):
    """Keys, pastes, the mouse; no answer of the terminal that nobody waits for."""

    def __init__(self, debug: bool = False, editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
        """`editing_keys`: keys → those that the fields know."""
        super().__init__(debug)
        self._editing_keys = editing_keys
        self._sequence = ""
        """What has come since the latest ESC, as far as Textual's parser took it for a sequence."""
        self._ends_string = False
        """The latest ESC ended a string: a backslash behind it belongs to it, in whatever pieces they come."""
        self._dropped = ""
        """The beginning of the too long answer whose rest is dropped now."""
        self._is_stalled = False
        """Nothing has come since the latest tick."""

    def feed(self, data: str) -> Iterator[Message]:
        """As Textual's, but ESC ends the sequence before it, as in a terminal."""
        self._is_stalled = False
        before_esc, *parts = data.split(_ESC)
        if before_esc or not parts:  # an empty text is the end of the input
            yield from super().feed(before_esc)
        for part in parts:
            before = self._dropped or (self._sequence if self._is_in_sequence else "")
            self._ends_string = before[1:2] in tuple(terminal_replies.STRINGS) and part[:1] in ("", "\\")
            if before:
                yield from super().feed(terminal_replies.BEL if self._ends_string else _CUT)
            self._sequence = self._dropped = ""
            yield from super().feed(_ESC + part)

    def tick(self) -> Iterable[Message]:
        """As Textual's. The driver calls it behind each input, and each time that it waited for input in vain: an answer
        that does not go on has ended then, as a key's sequence has."""
        if self._is_stalled:
            self._dropped = ""
        self._is_stalled = True
        return super().tick()

    @property
    def _is_in_sequence(self) -> bool:
        return len(self._sequence) > 1 and self._awaiting.timeout is not None

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[events.Key]:
        self._sequence = sequence
        for key in self._keys_of(sequence, alt):
            yield events.Key(self._editing_keys[key.key], None) if key.key in self._editing_keys else key

    def _keys_of(self, sequence: str, alt: bool = False) -> list[events.Key]:
        """None while a sequence goes on, or where it is for Textual's parser: a report of the mouse or of a mode."""
        if len(sequence) == 1:
            if self._dropped and self._is_dropped(sequence):
                return [_NOTHING]
            is_command = alt and sequence.isprintable()
            return [alt_key(sequence)] if is_command else list(super()._sequence_to_key_events(sequence))
        is_pair = len(sequence) == 2 and sequence[1].isprintable()
        if sequence == _TERMINATOR and self._ends_string:
            return [_NOTHING]
        if terminal_replies.is_open(sequence):
            if len(sequence) < terminal_replies.LONGEST:
                return []
            self._dropped = sequence
            return [_NOTHING]
        if not is_pair and (known := self._known_key(sequence)):
            return known
        if terminal_replies.is_for_textual(sequence):
            return []
        if terminal_replies.is_whole(sequence):
            return [events.Key(Keys.Ignore, sequence)]
        return self._typed(sequence)

    def _is_dropped(self, character: str) -> bool:
        """Whether it belongs to the answer that is too long; a control character that cuts that short is a key."""
        is_last, is_control = (
            terminal_replies.ends(self._dropped, character),
            not (" " <= character != "\x7f"),
        )
        if is_last or is_control:
            self._dropped = ""
        return is_last or not is_control

    def _known_key(self, sequence: str) -> list[events.Key]:
        if len(sequence) > _LONGEST_KEY:
            return []
        report = readable(sequence)
        try:
            return list(super()._sequence_to_key_events(report)) if report else [events.Key(Keys.Ignore, "")]
        except (ValueError, OverflowError):  # no number, or no character's
            return [events.Key(Keys.Ignore, sequence)]

    def _typed(self, sequence: str) -> list[events.Key]:
        """ESC and what follows it as keys of their own: alt or escape, and the rest."""
        _, first, *others = sequence.removesuffix(_CUT)
        keys = (
            [alt_key(first)] if first.isprintable() else [events.Key("escape", _ESC), *self._keys_of(first)]
        )
        return keys + [key for each in others for key in self._keys_of(each)]

    def parse_mouse_code(self, code: str) -> Message | None:
        try:
            return super().parse_mouse_code(code)
        except (ValueError, OverflowError, ZeroDivisionError):
            return None  # no place, or in pixels of a terminal that has none


def is_possible(resized: events.Resize) -> bool:
    """Whether a terminal can have that size."""
    return all(0 < cells <= _LARGEST for cells in resized.size)


class _LegacyKey(Enum):
    """Textual reads the values of an enum of its own, which does not have these."""

    ALT_ENTER = "alt+enter"


def install() -> None:
    """Let Textual ask for the alternate codes of keys too, and read long answers to their end; it makes up its flags from
    the one name, and looks at the other for each character."""
    linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES = 1 | linux_driver.KITTY_REPORT_ALTERNATE_KEYS
    _xterm_parser._MAX_SEQUENCE_SEARCH_THRESHOLD = terminal_replies.LONGEST
    # ESC CR is what terminals without a keyboard protocol send for alt+enter; Textual reads escape and enter.
    cast("dict[str, object]", ANSI_SEQUENCES_KEYS).setdefault("\x1b\r", (_LegacyKey.ALT_ENTER,))
