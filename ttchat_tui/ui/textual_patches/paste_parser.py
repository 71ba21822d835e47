"""Bracketed pastes that contain escape characters.

Replaces `XTermParser` and `getincrementaldecoder` in the modules of Textual's drivers (8.2.8). Textual's parser looks for
key sequences inside a paste too, and posts unknown ones as typed keys: a pasted log with colours would send half of itself
as messages. Here the ESC characters of a paste are replaced before the parser, and `as_draft` restores them.
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
"""Imported by name, in a browser only: it takes 10 ms."""
_ESC: Final = "\x1b"


class PasteFilter:
    """Replaces ESC by `PASTED_ESCAPE` inside a bracketed paste, however the input is split."""

    def __init__(self) -> None:
        self._is_pasting = False
        self._held = ""
        """In a paste: characters that may begin its end mark."""
        self._tail = ""
        """Outside a paste: the last characters, which may begin its start mark."""

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
    """A `TerminalParser` behind a `PasteFilter`."""

    def __init__(self, debug: bool = False, editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
        super().__init__(debug, editing_keys)
        self._paste_filter = PasteFilter()

    def feed(self, data: str) -> Iterator[Message]:
        filtered = self._paste_filter.feed(data)
        if data and not filtered:
            return
        for message in super().feed(filtered):  # an empty text means end of input
            if not isinstance(message, events.Resize) or is_possible(message):
                yield message


def _replacing_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    """As `codecs.getincrementaldecoder`, but invalid bytes become U+FFFD."""
    return functools.partial(codecs.getincrementaldecoder(encoding), errors="replace")


def install(editing_keys: Mapping[str, str] = EDITING_KEYS) -> None:
    """Make Textual's drivers use this parser and decoder, which they construct by these names."""
    parser = functools.partial(PasteSafeParser, editing_keys=editing_keys)
    in_a_browser = [importlib.import_module(WEB_DRIVER)] if constants.DRIVER else []
    for driver in (linux_driver, *in_a_browser):
        vars(driver).update(XTermParser=parser, getincrementaldecoder=_replacing_decoder)
