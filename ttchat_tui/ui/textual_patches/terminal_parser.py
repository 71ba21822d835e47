"""A parser of terminal input that knows keys of any layout and ignores unknown sequences.

Overrides `XTermParser._sequence_to_key_events` of Textual 8.2.8, and sets `_MAX_SEQUENCE_SEARCH_THRESHOLD`,
`KITTY_DISAMBIGUATE_ESCAPE_CODES` and `ANSI_SEQUENCES_KEYS`. Textual's parser types unknown and incomplete sequences into the
prompt, raises on unexpected codes, and reads Esc and a key that follows within 0.1 s as alt and that key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, cast

from textual import _xterm_parser, events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._time import get_time
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.keys import Keys, _character_to_key
from textual.message import Message

from ttchat_tui.ui.keys import EDITING_KEYS
from ttchat_tui.ui.textual_patches import terminal_replies
from ttchat_tui.ui.textual_patches.key_reports import readable

_ESC: Final = "\x1b"
_CUT: Final = "\udc1b"
"""Replaces an ESC that cuts a sequence short; no decoder produces it."""
_TERMINATOR: Final = "\x1b\\"
_NOTHING: Final = events.Key(Keys.Ignore, None)
_LONGEST_KEY: Final = 64
"""Characters. Textual's pattern for keys takes quadratic time."""
_LARGEST: Final = 10_000
"""The most columns or rows that a terminal reports."""
_APART_S: Final = 0.015
"""Seconds from which two reads are two keys: a terminal writes alt and a key at once, ssh sends that in one packet, and a
hand is slower. crossterm (helix) takes any two reads for two keys; vim and Textual wait for a time, within which Esc, k is
alt+k."""
_SEQUENCE_STARTS: Final = ("[", "O", *terminal_replies.STRINGS)
"""After ESC; a link may split what follows."""


def alt_key(character: str) -> events.Key:
    """The key alt and a printable character: a command, not text."""
    name = character if character.isalnum() else _character_to_key(character)
    shift = "shift+" if len(name) == 1 and name != name.lower() else ""
    return events.Key(f"alt+{shift}{name.lower()}", None)


class TerminalParser(XTermParser):
    """Parses keys, pastes and the mouse, and drops unexpected answers of the terminal."""

    def __init__(self, debug: bool = False, editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
        """`editing_keys`: key → the key that text fields know."""
        super().__init__(debug)
        self._editing_keys = editing_keys
        self._sequence = ""
        """The input since the last ESC, as far as Textual's parser took it for a sequence."""
        self._ends_string = False
        """The last ESC ended a string: a backslash after it belongs to the terminator."""
        self._dropped = ""
        """The beginning of an answer that is too long; its rest is being dropped."""
        self._is_stalled = False
        """No input since the last tick."""
        self._escape_at = 0.0
        """When a read ended with ESC; 0: the last one did not."""

    def feed(self, data: str) -> Iterator[Message]:
        """Parse input. ESC ends the sequence before it, as in a terminal; Textual types such a sequence."""
        self._is_stalled = False
        yield from self._escape_before(data)
        before_esc, *parts = data.split(_ESC)
        if before_esc or not parts:  # an empty text means end of input
            yield from super().feed(before_esc)
        for part in parts:
            before = self._dropped or (self._sequence if self._is_in_sequence else "")
            self._ends_string = before[1:2] in tuple(terminal_replies.STRINGS) and part[:1] in ("", "\\")
            if before:
                yield from super().feed(terminal_replies.BEL if self._ends_string else _CUT)
            self._sequence = self._dropped = ""
            yield from super().feed(_ESC + part)

    def _escape_before(self, data: str) -> Iterator[Message]:
        """The key Esc, if the last read ended with it and `data` is typed after it."""
        at, self._escape_at = self._escape_at, get_time() if data.endswith(_ESC) else 0.0
        is_waiting = self._timeout_time is not None and not self._ends_string
        is_typed = data[:1] not in _SEQUENCE_STARTS or len(data) == 1
        if data and at and is_waiting and is_typed and get_time() - at >= _APART_S:
            self._timeout_time = 0.0
            yield from super().tick()

    def tick(self) -> Iterable[Message]:
        """The driver calls it after each input and after each time-out. A time-out ends an unfinished answer, as it ends a
        key's sequence."""
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
        """Empty while a sequence continues, and for mouse and mode reports, which Textual's parser handles."""
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
        """Whether it belongs to the answer being dropped. A control character that cuts it short is a key."""
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
        except (ValueError, OverflowError):  # not a number, or not a character's
            return [events.Key(Keys.Ignore, sequence)]

    def _typed(self, sequence: str) -> list[events.Key]:
        """The keys of an unknown sequence: alt or escape, then the rest."""
        _, first, *others = sequence.removesuffix(_CUT)
        keys = (
            [alt_key(first)] if first.isprintable() else [events.Key("escape", _ESC), *self._keys_of(first)]
        )
        return keys + [key for each in others for key in self._keys_of(each)]

    def parse_mouse_code(self, code: str) -> Message | None:
        try:
            return super().parse_mouse_code(code)
        except (ValueError, OverflowError, ZeroDivisionError):
            return None  # no coordinates, or pixels from a terminal without pixel size


def is_possible(resized: events.Resize) -> bool:
    """Whether a terminal can have this size."""
    return all(0 < cells <= _LARGEST for cells in resized.size)


class _LegacyKey(Enum):
    """Textual reads the values of an enum of its own, which does not have these."""

    ALT_ENTER = "alt+enter"


def install() -> None:
    """Request alternate key codes too, read long answers to their end, and know alt+enter. Textual reads these names at run
    time."""
    linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES = 1 | linux_driver.KITTY_REPORT_ALTERNATE_KEYS
    _xterm_parser._MAX_SEQUENCE_SEARCH_THRESHOLD = terminal_replies.LONGEST
    # ESC CR is what terminals without a keyboard protocol send for alt+enter; Textual reads escape and enter.
    cast("dict[str, object]", ANSI_SEQUENCES_KEYS).setdefault("\x1b\r", (_LegacyKey.ALT_ENTER,))
