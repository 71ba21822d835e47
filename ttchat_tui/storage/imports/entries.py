"""The entries of an export: JSON objects of an array, of lines, or one alone, in a file or a zip, in bounded memory.

An entry is one conversation, whatever program wrote it. A file with a syntax error is read up to it; lines are independent.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import ijson  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.imports import ImportProblem
from ttchat_tui.storage.imports.array import LARGEST, TOO_DEEP, TOO_LARGE, Skipped, elements
from ttchat_tui.storage.imports.files import (
    NOT_AN_EXPORT,
    NOT_TEXT,
    ByteFile,
    SourceFile,
    is_text,
    open_sources,
)

_VALUE_BYTES: Final = 40
"""Memory of a value beyond its text. A comma or an opening bracket precedes nearly every value, so that their number
bounds the memory of an object before it is built."""
_MOST_BYTES: Final = 256 << 20
_CHUNK: Final = 1 << 16
_TITLE_LENGTH: Final = 40
_ENDLESS_NUMBER: Final = re.compile(rb"(?:^|[:,\[\s])-?\d{1000}")
"""Python refuses numbers of more than 4,300 digits, and ijson 3.6 crashes then."""


class Entry(msgspec.Struct, frozen=True):
    """One JSON object, not yet decoded into a format's type."""

    place: str
    keys: frozenset[str]
    changed_at: float
    """When its file was last changed: Unix time, seconds."""
    decode: Callable[[Any], Any]
    """Decode into a type. Raises msgspec.ValidationError."""


def read_entries(path: Path, report: Callable[[int, int, str], None]) -> Iterator[Entry | ImportProblem]:
    """The entries of `path`, and in their places what is wrong with it.

    Args:
        report: takes the bytes read so far, the bytes of all, and the name of the file; may raise to stop the import.

    Raises:
        UnreadableError.
    """
    for source in open_sources(path, report):
        yield from _entries_of(source)


def _entries_of(source: SourceFile) -> Iterator[Entry | ImportProblem]:
    reader = _Reader(source.file)
    try:
        first = reader.first_character()
        if first == b"[":
            yield from _array(source, reader)
        elif first == b"{":
            yield from _objects(source, reader)
        elif first:
            reason = "it is not JSON" if is_text(reader.read()) else NOT_TEXT
            yield ImportProblem(source.name, reason, NOT_AN_EXPORT)
        else:
            yield ImportProblem(source.name, "it is empty")
    except ValueError:
        yield ImportProblem(
            f"{source.name}, near byte {reader.position:,}", "it has a number of thousands of digits"
        )
    except _TooLargeError:
        place = f"{source.name}, near byte {reader.position:,}"
        yield ImportProblem(place, f"{TOO_LARGE}; the rest was not read")


def _array(source: SourceFile, reader: _Reader) -> Iterator[Entry | ImportProblem]:
    number = 0
    try:
        for value in elements(reader):
            number += 1
            yield _from_value(f"{source.name}, entry {number:,}", value, source)
    except ijson.IncompleteJSONError:
        yield _syntax_problem(source, number + 1, reader, "the file ends in the middle of it")
    except (ijson.JSONError, ValueError):
        yield _syntax_problem(source, number + 1, reader, "it is not valid JSON")


def _syntax_problem(source: SourceFile, number: int, reader: _Reader, reason: str) -> ImportProblem:
    place = f"{source.name}, entry {number:,} (near byte {reader.position:,})"
    return ImportProblem(place, f"{reason}; the rest was not read", "Download the export again.")


def _objects(source: SourceFile, reader: _Reader) -> Iterator[Entry | ImportProblem]:
    """Lines of JSON, or one object over many lines."""
    lines = reader.lines()
    first = next(lines)
    second = next((line for line in lines if line.strip()), b"")
    entry = _from_text(f"{source.name}, line 1" if second else source.name, first, source)
    if (
        isinstance(entry, ImportProblem) and second and not second.startswith(b"{")
    ):  # which no object goes on with
        reader.is_one_object = True
        yield _from_text(source.name, b"\n".join([first, second, *lines]), source)
        return
    yield entry
    for number, line in enumerate(itertools.chain([second], lines), start=2):
        if line.strip():
            yield _from_text(f"{source.name}, line {number:,}", line, source)


def _from_text(place: str, text: bytes, source: SourceFile) -> Entry | ImportProblem:
    if len(text) + _VALUE_BYTES * sum(map(text.count, (b",", b"[", b"{"))) > _MOST_BYTES:
        return ImportProblem(place, TOO_LARGE)
    try:
        text.decode()
        keys = msgspec.json.decode(text, type=decodable(dict[str, msgspec.Raw])).keys()
    except UnicodeDecodeError as error:
        return ImportProblem(place, f"byte {error.start:,} is not UTF-8")
    except (msgspec.DecodeError, RecursionError):
        return _from_lenient(place, text, source)

    def decode(kind: Any) -> Any:
        return msgspec.json.decode(text, type=decodable(kind))

    return Entry(place, frozenset(keys), source.changed_at, decode)


def _from_lenient(place: str, text: bytes, source: SourceFile) -> Entry | ImportProblem:
    """As `_from_text`, but with half surrogate pairs, which JavaScript programs write."""
    try:
        return _from_value(place, json.loads(text), source)
    except json.JSONDecodeError as error:
        return ImportProblem(place, f"it is not valid JSON (line {error.lineno:,}, column {error.colno:,})")
    except ValueError:
        return ImportProblem(place, "it has a number of thousands of digits")
    except RecursionError:
        return ImportProblem(place, TOO_DEEP)


def _from_value(place: str, value: Any, source: SourceFile) -> Entry | ImportProblem:
    if isinstance(value, Skipped):
        return ImportProblem(place, str(value))
    if not isinstance(value, dict):
        return ImportProblem(place, "it is not an object")

    fields = cast("dict[str, Any]", value)

    def decode(kind: Any) -> Any:
        return msgspec.convert(fields, decodable(kind))

    return Entry(_titled(place, fields), frozenset(fields), source.changed_at, decode)


def _titled(place: str, value: dict[str, Any]) -> str:
    """`conversations.json, entry 17 “Clock repair”`."""
    title = value.get("title") or value.get("name")
    return f"{place} “{title[:_TITLE_LENGTH]}”" if isinstance(title, str) else place


class _TooLargeError(Exception):
    """A string or a line that is not read."""


class _Reader:
    """Chunks or lines of a file."""

    def __init__(self, file: ByteFile) -> None:
        self._file = file
        self._ahead = b""
        self.position = 0
        """Bytes read so far."""
        self.mark = 0
        """Where the last complete value or line ended, to about a chunk."""
        self.is_one_object = False
        """No line is complete by itself."""
        self._is_in_string = False
        self._is_escaped = False
        """What was read ends in a backslash that escapes the next character."""

    def read(self, size: int = _CHUNK) -> bytes:
        """Raises _TooLargeError."""
        if size == 0:  # ijson asks for nothing to see whether it gets bytes
            return b""
        ahead, self._ahead = self._ahead, b""
        if ahead:
            return ahead
        if self.position - self.mark > LARGEST:
            raise _TooLargeError
        chunk = self._file.read(size)
        self.position += len(chunk)
        self._refuse_endless_numbers(chunk)
        return chunk

    def _refuse_endless_numbers(self, chunk: bytes) -> None:
        """Raises ValueError. In a string such digits are text: somebody asked for 2 to the power of 5000."""
        plain = chunk[self._is_escaped :].replace(b"\\\\", b"").replace(b'\\"', b"")
        for number in _ENDLESS_NUMBER.finditer(plain):
            if self._is_in_string == bool(plain.count(b'"', 0, number.start()) % 2):
                raise ValueError("a number of thousands of digits")
        self._is_in_string ^= bool(plain.count(b'"') % 2)
        self._is_escaped = plain.endswith(b"\\")

    def first_character(self) -> bytes:
        """The first character that is not white space. It stays to be read; the space and a byte order mark do not."""
        while chunk := self.read():
            if text := chunk.removeprefix(b"\xef\xbb\xbf").lstrip():
                self._ahead = text
                return text[:1]
            self.mark = self.position
        return b""

    def lines(self) -> Iterator[bytes]:
        parts: list[bytes] = []
        while chunk := self.read():
            *whole, rest = chunk.split(b"\n")
            if whole and not self.is_one_object:
                self.mark = self.position
            for line in whole:
                yield b"".join([*parts, line])
                parts.clear()
            parts.append(rest)
        yield b"".join(parts)
