"""A server-sent event decoder (HTML standard, 9.2) for arbitrary pieces of bytes, with bounded memory.

Not httpx-sse: it collects lines and events of any length, so that a server could fill this machine's memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ttchat_tui.engine.served.loose_json import decoded

LONGEST_EVENT: Final = 8 << 20
"""Longest event in bytes. A chunk of text has hundreds, one with an image millions."""

COMMENT: Final = ":"
"""Kind of a comment: a keep-alive, which for some servers carries progress."""

STRAY: Final = "?"
"""Kind of a line without a field name: an error in plain words, a web page, `[DONE]` without `data:`."""

_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry", b"error"})
_FIELD: Final = re.compile(rb"[a-z][a-z0-9_-]*")
_LONGEST_WORD: Final = 100
_MOST_LOOKED: Final = 1 << 18
"""Longest event, in bytes, that is checked for a complete object: each check parses it from the start."""
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event exceeds `LONGEST_EVENT` bytes."""


class ServerEvent(NamedTuple):
    """One event, with the fields that matter to a chat."""

    data: str
    """Text; invalid UTF-8 is kept with `surrogateescape`, as it may be half a character."""
    kind: str = ""
    """`event:`, or "error" for the field `error:` of older llama.cpp servers."""


class EventDecoder:
    """Decodes a stream. Any split of the same bytes gives the same events."""

    def __init__(self, longest: int = LONGEST_EVENT) -> None:
        self._longest = longest
        self._rest = bytearray()
        self._seen = 0
        """Bytes of `_rest` already searched for a line end."""
        self._data: list[bytes] = []
        self._is_bare = False
        """`_data` is JSON without `data:` before it."""
        self._size = self._looked = 0
        self._kind = ""
        self._skip_newline = False

    def feed(self, data: bytes) -> Iterator[ServerEvent]:
        """Yield the events that `data` completes. Exhaust the iterator before the next call.

        Raises:
            EventTooLong: after the events that precede it; the stream is unusable then.
        """
        self._rest += data
        while (line := self._next_line()) is not None:
            yield from self._read_line(line)
        if len(self._rest) + self._size > self._longest:
            raise EventTooLong(f"an event of more than {self._longest:,} bytes")

    def end(self) -> list[ServerEvent]:
        """The unfinished event at the end of a stream. It counts: servers omit the last newline."""
        events = list(self._read_line(bytes(self._rest))) if self._rest else []
        self._rest.clear()
        return [*events, *self._read_line(b"")]

    def _next_line(self) -> bytes | None:
        """The next complete line without its LF, CR or CR LF."""
        if self._skip_newline and self._rest:  # the LF of a CR LF that was split
            self._skip_newline = False
            if self._rest.startswith(b"\n"):
                del self._rest[:1]
        ends = [
            at for at in (self._rest.find(b"\n", self._seen), self._rest.find(b"\r", self._seen)) if at >= 0
        ]
        if not ends:
            self._seen = len(self._rest)
            return None
        at = min(ends)
        line = bytes(self._rest[:at])
        self._skip_newline = self._rest.startswith(b"\r", at)
        del self._rest[: at + 1]
        self._seen = 0
        return line

    def _read_line(self, line: bytes) -> Iterator[ServerEvent]:
        line = line.removeprefix(_BOM)  # joined streams may have several
        if not line:
            yield from self._dispatch()
            return
        name, colon, value = line.partition(b":")
        is_field = colon and _FIELD.fullmatch(name.strip())  # `ValueError: …` is not a field
        name, value = name.strip().lower(), value.removeprefix(b" ")
        if colon and not name:
            yield ServerEvent(value.decode("utf-8", "replace").strip(), COMMENT)
        elif name == b"event":
            self._kind = value.decode("utf-8", "replace").strip()
        elif name in (b"data", b"error"):
            if self._is_event_whole():  # single newlines between events
                yield from self._dispatch()
            self._kind = "error" if name == b"error" else self._kind
            self._keep(value)
        elif name not in _FIELDS and not is_field:
            yield from self._read_stray(line)

    def _read_stray(self, line: bytes) -> Iterator[ServerEvent]:
        if self._is_bare and not self._is_event_whole():  # JSON over several lines
            self._keep(line)
            return
        yield from self._dispatch()
        if line.lstrip()[:1] == b"{":  # JSON lines: each is an event
            self._is_bare = True
            self._keep(line)
        else:
            yield ServerEvent(line.decode("utf-8", "replace"), STRAY)

    def _keep(self, line: bytes) -> None:
        self._data.append(line)
        self._size += len(line) + 1
        if self._size > self._longest:
            raise EventTooLong(f"an event of more than {self._longest:,} bytes")

    def _is_event_whole(self) -> bool:
        if not self._data or self._looked > _MOST_LOOKED:
            return False
        self._looked += self._size
        return _is_whole(b"\n".join(self._data))

    def _dispatch(self) -> Iterator[ServerEvent]:
        data, kind = self._data, self._kind
        self._data, self._kind, self._is_bare = [], "", False
        self._size = self._looked = 0
        if data:
            yield ServerEvent(b"\n".join(data).decode("utf-8", "surrogateescape"), kind)


def _is_whole(data: bytes) -> bool:
    """Whether `data` is complete by itself: one JSON object, or a word in its place."""
    data = data.strip()
    if data[:1] not in (b"{", b"["):
        return 0 < len(data) <= _LONGEST_WORD
    try:
        decoded(data if data[-1:] in (b"}", b"]") else b"")
    except ValueError:
        return False
    return True
