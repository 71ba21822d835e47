"""The body of a good answer → chunks: a stream of events, or one JSON object where a server does not stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ttchat_tui.engine.remote.chunks import (
    DONE,
    BadChunk,
    Chunk,
    chunk_error,
    first_line,
    one_line,
    parse_chunk,
)
from ttchat_tui.engine.remote.sse import LONGEST_EVENT, EventDecoder, EventTooLong, ServerEvent

_SNIFFED: Final = 16
"""Bytes after white space that tell a stream, JSON and a page apart."""


class BadAnswer(Exception):
    """It is no answer of a chat server; `str()` continues a sentence that begins with the server's name."""


class ServerFailed(Exception):
    """The server said in its stream that it failed; `str()` is its message, one line."""


class AnswerStream:
    """Feed it the body in order, however it is cut. What comes after `[DONE]` is passed over."""

    def __init__(self) -> None:
        self.is_done = False
        """`[DONE]` came."""
        self._decoder = EventDecoder()
        self._body = bytearray()
        """What came before it was clear what it is; all of it where it is one JSON object."""
        self._is_stream: bool | None = None

    def feed(self, data: bytes) -> Iterator[Chunk]:
        """The chunks that these bytes complete; to be used up before the next call.

        Raises:
            BadAnswer, ServerFailed: after the chunks before it; nothing more is to be had.
        """
        if self._is_stream:
            yield from self._chunks(data)
            return
        self._body += data
        if self._is_stream is None:
            self._look()
        if self._is_stream:
            yield from self._chunks(bytes(self._body))
        elif len(self._body) > LONGEST_EVENT:
            raise BadAnswer("sent a JSON object of more than a megabyte in place of a stream")

    def end(self) -> Iterator[Chunk]:
        """The body is complete; raises as `feed`."""
        if self._is_stream is None:
            self._look(is_all=True)
        if self._is_stream:
            yield from self._parsed(self._decoder.end())
        elif self._is_stream is False:
            yield from self._parsed([ServerEvent(self._body.decode("utf-8", "replace"))])
            self.is_done = True

    def _look(self, *, is_all: bool = False) -> None:
        """Decide by the first bytes: servers and proxies are careless with Content-Type."""
        start = bytes(self._body[: 4 * _SNIFFED]).removeprefix(b"\xef\xbb\xbf").lstrip()[:_SNIFFED]
        if start[:1] == b"<":
            raise BadAnswer("answers with a web page and not with a stream")
        if start[:1] == b"{":
            self._is_stream = False
        elif start[:1] == b":" or start.partition(b":")[0] in (b"data", b"event", b"id", b"retry", b"error"):
            self._is_stream = True
        elif (start and (is_all or len(start) >= _SNIFFED)) or len(self._body) > LONGEST_EVENT:
            text = self._body[:200].decode("utf-8", "replace")
            raise BadAnswer(f"answers with something that is no stream: {one_line(text, 80)!r}")

    def _chunks(self, data: bytes) -> Iterator[Chunk]:
        try:
            yield from self._parsed(self._decoder.feed(data))
        except EventTooLong as error:
            raise BadAnswer(f"sent {error}") from error

    def _parsed(self, events: Iterable[ServerEvent]) -> Iterator[Chunk]:
        for event in events:
            if self.is_done:
                continue
            if event.data.strip() == DONE:
                self.is_done = True
                continue
            yield _chunk(event)


def _chunk(event: ServerEvent) -> Chunk:
    try:
        chunk = parse_chunk(event.data)
    except BadChunk as error:
        if event.kind == "error" or '"error"' in event.data[:20]:  # some servers do not escape the message
            raise ServerFailed(first_line(event.data)) from error
        raise BadAnswer(f"sent a piece that is no JSON of a chat: {one_line(event.data, 60)!r}") from error
    said = chunk_error(chunk) or (first_line(event.data) if event.kind == "error" else None)
    if said is not None:
        raise ServerFailed(said)
    return chunk
