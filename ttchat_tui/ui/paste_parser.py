"""Keeps a bracketed paste whole that has escape characters in it, and outlives what is no key.

Textual's parser looks for key sequences inside a paste too: what it does not know it sends on as typed keys, so that
a pasted log with colours in it would send half of itself as messages. Here the escapes of a paste are taken out of the
parser's sight, and `as_draft` finds them again. The parser (8.2.8) also ends by an error of its own at key codes that it
does not expect, and every key after that would be lost: those are left out.
"""

from __future__ import annotations

import codecs
import functools
import importlib
import re
from collections.abc import Callable, Iterator
from typing import Final

from textual import constants, events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START
from textual.drivers import linux_driver
from textual.keys import Keys
from textual.message import Message

from ttchat_tui.ui.layout_keys import LayoutParser
from ttchat_tui.ui.pasted_text import PASTED_ESCAPE

_WEB_DRIVER: Final = "textual.drivers.web_driver"
"""By name: 10 ms that no terminal waits for."""
_ESC: Final = "\x1b"
_EVENT_TYPE: Final = re.compile(r"(\x1b\[[\d:]*;\d*):(\d+)")
"""In kitty's protocol behind a key's modifiers: 1 is pressed, 2 repeated, 3 released."""
_RELEASED: Final = "3"
_LARGEST: Final = 10_000
"""Columns or rows of a terminal: more is no terminal's report."""


class PasteFilter:
    """Replaces ESC by `PASTED_ESCAPE` between the two marks of a bracketed paste, in whatever pieces they come."""

    def __init__(self) -> None:
        self._is_pasting = False
        self._held = ""
        """Of a paste: what may be the beginning of its end."""
        self._tail = ""
        """Outside: the last characters, which may be the beginning of a start that is cut in two."""

    def feed(self, data: str) -> str:
        out: list[str] = []
        while data:
            data = self._in_paste(data, out) if self._is_pasting else self._outside(data, out)
        return "".join(out)

    def _outside(self, data: str, out: list[str]) -> str:
        seen = self._tail + data
        at = seen.find(BRACKETED_PASTE_START)
        if at < 0:
            out.append(data)
            self._tail = seen[-(len(BRACKETED_PASTE_START) - 1) :]
            return ""
        end = at + len(BRACKETED_PASTE_START) - len(self._tail)
        out.append(data[:end])
        self._is_pasting, self._tail = True, ""
        return data[end:]

    def _in_paste(self, data: str, out: list[str]) -> str:
        data, self._held = self._held + data, ""
        text, mark, rest = data.partition(BRACKETED_PASTE_END)
        if mark:
            out.append(text.replace(_ESC, PASTED_ESCAPE) + mark)
            self._is_pasting = False
            return rest
        last = text.rfind(_ESC)
        if last >= 0 and BRACKETED_PASTE_END.startswith(text[last:]):
            text, self._held = text[:last], text[last:]
        out.append(text.replace(_ESC, PASTED_ESCAPE))
        return ""


class PasteSafeParser(LayoutParser):
    """Textual's parser behind a `PasteFilter`; it leaves out what it cannot read."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._paste_filter = PasteFilter()

    def feed(self, data: str) -> Iterator[Message]:
        filtered = self._paste_filter.feed(data)
        if data and not filtered:
            return
        for message in super().feed(filtered):  # an empty text is the end of the input
            if not isinstance(message, events.Resize) or _is_possible(message):
                yield message

    # Textual's is behind a cache, which this one calls.
    def _parse_extended_key(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, sequence: str
    ) -> list[events.Key] | None:
        ignored = [events.Key(Keys.Ignore, sequence)]
        if typed := _EVENT_TYPE.match(sequence):
            if typed[2] == _RELEASED:
                return ignored
            sequence = typed[1] + sequence[typed.end() :]
        try:
            return super()._parse_extended_key(sequence)
        except (ValueError, OverflowError):  # no number, or no character's
            return ignored

    def parse_mouse_code(self, code: str) -> Message | None:
        try:
            return super().parse_mouse_code(code)
        except ZeroDivisionError:  # in pixels, of a terminal that has told a size of zero
            return None


def _is_possible(resized: events.Resize) -> bool:
    return all(0 < cells <= _LARGEST for cells in resized.size)


def _replacing_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """As `codecs.getincrementaldecoder`, but a byte that is none of a character's becomes U+FFFD, and no error."""
    return functools.partial(codecs.getincrementaldecoder(encoding), errors="replace")


def install() -> None:
    """Let Textual's drivers use both; they make parser and decoder by these names."""
    in_a_browser = [importlib.import_module(_WEB_DRIVER)] if constants.DRIVER else []
    for driver in (linux_driver, *in_a_browser):
        vars(driver).update(XTermParser=PasteSafeParser, getincrementaldecoder=_replacing_decoder)
