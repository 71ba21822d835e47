"""Response bodies to chunks: server-sent events, JSON lines, or one JSON object."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from ttchat_tui.engine.served.chunks import (
    BadChunk,
    Progress,
    StreamChunk,
    first_line,
    parse_chunks,
    server_message,
    short_line,
)
from ttchat_tui.engine.served.loose_json import decoded
from ttchat_tui.engine.served.sse import COMMENT, LONGEST_EVENT, EventDecoder, EventTooLong, ServerEvent

_SNIFFED: Final = 16
"""Bytes needed, after white space, to tell a stream, JSON and a web page apart."""
_DONE: Final = frozenset({"[DONE]", "DONE"})
_DONE_KINDS: Final = frozenset({"done", "end", "complete", "completed"})
_ERROR: Final = re.compile(
    r"\W{0,2}(?:internal server )?error\b[\s:\])]*|[\w.]+(?:Error|Exception):\s*", re.IGNORECASE
)
_LABEL: Final = re.compile(rf"\A(?:{_ERROR.pattern}(?=[^\W\d]))", re.IGNORECASE)
"""A label that is cut off an error message. It stays in front of a bare key or number."""
_WORDLESS: Final = "an error without words"
_ALIVE: Final = re.compile(
    r"\W*(?:ping|pong|heart-?beat|keep-?alive|alive|processing|waiting)[\W\d]*\Z", re.IGNORECASE
)
"""Keep-alive events that some servers send as data."""
_PROGRESS: Final = re.compile(r"\b(\d{1,9})\s*/\s*(\d{1,9})\b")
"""Prompt tokens done and in all, in mlx_lm.server's comment `keepalive 512/2048`."""
_DATA_TWICE: Final = re.compile(r"\A(?:data:\s*)+")


class BadAnswer(Exception):
    """The body is not a chat server's answer. `str()` completes a sentence that starts with the server's name."""


class ServerFailed(Exception):
    """The server reported an error in its stream. `str()` is its message, in one line."""


class AnswerStream:
    """Parses a body that arrives in arbitrary pieces. Everything after `[DONE]` is ignored."""

    def __init__(self) -> None:
        self.is_done = False
        """`[DONE]` has come, or the whole answer if it is not a stream."""
        self._decoder = EventDecoder()
        self._body = bytearray()
        """Bytes kept until the format is known; the whole body if it is one JSON object."""
        self._is_stream: bool | None = None
        self._is_json_by_lines = False
        self._has_message = False
        self.passed_over = ""
        """The first line that was neither a chunk, an error nor a known keep-alive."""
        self.stray = ""
        """The first such line that is not JSON either."""

    @property
    def is_empty(self) -> bool:
        """Nothing has arrived."""
        return self._is_stream is None and not self._body.strip()

    def feed(self, data: bytes) -> Iterator[StreamChunk]:
        """Yield the chunks that `data` completes. Exhaust the iterator before the next call.

        Raises:
            BadAnswer, ServerFailed: after the chunks that precede the error; the stream is over.
        """
        if self._is_stream:
            yield from self._chunks(data)
            return
        self._body += data
        if self._is_stream is None:
            self._look()
        if self._is_stream:
            body, self._body = bytes(self._body), bytearray()
            yield from self._chunks(body)
        elif len(self._body) > LONGEST_EVENT:
            raise BadAnswer(f"sent JSON of more than {LONGEST_EVENT:,} bytes in place of a stream")

    def end(self) -> Iterator[StreamChunk]:
        """Yield what is left when the body is complete. Raises as `feed` does."""
        if self._is_stream is None:
            self._look(is_all=True)
        if self._is_stream:
            yield from self._parsed(self._decoder.end())
            self.is_done = self.is_done or (self._is_json_by_lines and self._has_message)
        elif self._is_stream is False:
            yield from self._parsed([ServerEvent(self._body.decode("utf-8", "replace"))])
            self.is_done = True

    def _look(self, *, is_all: bool = False) -> None:
        """Detect the format from the first bytes: Content-Type is often wrong."""
        body = bytes(self._body).removeprefix(b"\xef\xbb\xbf").lstrip()
        start = body[:_SNIFFED]
        name = start.partition(b":")[0].strip().lower()
        if start[:1] == b"<":
            raise BadAnswer("answers with a web page, not with a stream")
        if start[:1] in (b"{", b"["):
            first, newline, _ = body.partition(b"\n")
            if start[:1] == b"{" and newline:
                self._is_stream = self._is_json_by_lines = _is_json(first)
            elif is_all or start[:1] == b"[":
                self._is_stream = False
        elif start[:1] == b":" or name in (b"data", b"event", b"id", b"retry", b"error"):
            self._is_stream = True
        elif (start and (is_all or len(start) >= _SNIFFED)) or len(self._body) > LONGEST_EVENT:
            text = body[:200].decode("utf-8", "replace")
            if _ERROR.match(text):
                raise ServerFailed(_words_of(text))
            raise BadAnswer(f"answers with something that is not a stream: {short_line(text, 80)!r}")

    def _chunks(self, data: bytes) -> Iterator[StreamChunk]:
        try:
            yield from self._parsed(self._decoder.feed(data))
        except EventTooLong as error:
            raise BadAnswer(f"sent {error}") from error

    def _parsed(self, events: Iterable[ServerEvent]) -> Iterator[StreamChunk]:
        for event in events:
            if not self.is_done:
                yield from self._read(event)

    def _read(self, event: ServerEvent) -> Iterator[StreamChunk]:
        if event.kind == COMMENT:
            if (found := _PROGRESS.search(event.data)) and int(found[2]):
                done, total = int(found[1]), int(found[2])
                yield StreamChunk(progress=Progress(min(done, total), total))
            return
        data = _DATA_TWICE.sub("", event.data.strip()).strip()
        if data.strip('"').strip().upper() in _DONE:
            self.is_done = True
            return
        try:
            chunks = parse_chunks(data)
        except BadChunk as error:
            self._pass_over(data, event.kind, error)
            return
        for chunk in chunks:
            self._has_message = self._has_message or any(
                not each.message.is_nothing for each in chunk.choices
            )
            yield chunk
            if chunk.error is not None:
                raise ServerFailed(chunk.error)
        if event.kind.lower() in _DONE_KINDS:
            self.is_done = True
        if all(chunk.is_nothing for chunk in chunks):
            self.passed_over = self.passed_over or first_line(data)
        if event.kind == "error":
            raise ServerFailed(server_message(data) or _WORDLESS)

    def _pass_over(self, data: str, kind: str, error: BadChunk) -> None:
        """Handle data that is not JSON: an error in plain words, a broken chunk, or a keep-alive."""
        if kind == "error" or '"error"' in data[:20]:  # some servers do not escape the message
            raise ServerFailed(first_line(data) or _WORDLESS) from error
        if _ERROR.match(data):
            raise ServerFailed(_words_of(data)) from error
        if data[:1] in ("{", "["):
            raise BadAnswer(f"sent a piece that is not JSON: {short_line(data, 60)!r}") from error
        if not data.startswith(":") and not _ALIVE.match(kind) and not _ALIVE.match(data):
            self.passed_over = self.passed_over or first_line(data)
            self.stray = self.stray or first_line(data)


def _words_of(error: str) -> str:
    return first_line(_LABEL.sub("", error)) or _WORDLESS


def _is_json(line: bytes) -> bool:
    try:
        decoded(line)
    except ValueError:
        return False
    return True
