"""Keeps a bracketed paste whole that has escape characters in it.

Textual's parser looks for key sequences inside a paste too: what it does not know it sends on as typed keys, so that
a pasted log with colours in it would send half of itself as messages. Here the escapes of a paste are taken out of the
parser's sight, and `as_draft` finds them again.
"""

from __future__ import annotations

import codecs
import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from textual import constants, events
from textual._xterm_parser import BRACKETED_PASTE_END, BRACKETED_PASTE_START
from textual.drivers import linux_driver
from textual.message import Message

from ttchat_tui.ui.keys import EDITING_KEYS
from ttchat_tui.ui.textual_patches.terminal_parser import TerminalParser, is_possible
from ttchat_tui.ui.widgets.prompt.pasted_text import PASTED_ESCAPE

WEB_DRIVER: Final = "textual.drivers.web_driver"
"""By name: 10 ms that no terminal waits for."""
_ESC: Final = "\x1b"


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


class PasteSafeParser(TerminalParser):
    """The parser behind a `PasteFilter`."""

    def __init__(self, debug: bool = False, editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
        super().__init__(debug, editing_keys)
        self._paste_filter = PasteFilter()

    def feed(self, data: str) -> Iterator[Message]:
        filtered = self._paste_filter.feed(data)
        if data and not filtered:
            return
        for message in super().feed(filtered):  # an empty text is the end of the input
            if not isinstance(message, events.Resize) or is_possible(message):
                yield message


def _replacing_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """As `codecs.getincrementaldecoder`, but a byte that is none of a character's becomes U+FFFD, and no error."""
    return functools.partial(codecs.getincrementaldecoder(encoding), errors="replace")


def install(editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
    """Let Textual's drivers use both; they make parser and decoder by these names."""
    parser = functools.partial(PasteSafeParser, editing_keys=editing_keys)
    in_a_browser = [importlib.import_module(WEB_DRIVER)] if constants.DRIVER else []
    for driver in (linux_driver, *in_a_browser):
        vars(driver).update(XTermParser=parser, getincrementaldecoder=_replacing_decoder)
