"""The files of an export: the file itself, or the members of a zip that hold conversations. Nothing is unpacked to disk."""

from __future__ import annotations

import calendar
import codecs
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, Protocol

import msgspec

from ttchat_tui.domain.special_files import special_file

NOT_AN_EXPORT: Final = (
    "ttchat-tui imports its own JSON, the exports of ChatGPT, Claude, Open WebUI and LM Studio (JSON or zip), the "
    "logs.db of llm, and JSONL in the messages format."
)

_CONVERSATIONS: Final = re.compile(r"conversations(-\d+)?\.json")
"""ChatGPT and Claude: beside these are files about the account."""
_NAMED: Final = 8
"""Of the files that are not read. An export may have thousands of pictures."""
_BOMB_RATIO: Final = 200
"""Text shrinks to a tenth, the same line a million times to a thousandth."""
_BOMB_BYTES: Final = 64 << 20
_OTHER_ENCODINGS: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
NOT_TEXT: Final = "it is not text"

Report = Callable[[int, int, str], None]
"""Takes the bytes read so far, the bytes of all, and the name of the file."""


class UnreadableError(Exception):
    """A file, or the zip `member` in it, that cannot be read."""

    def __init__(self, reason: str, cure: str = "", member: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.cure = cure
        self.member = member


class ByteFile(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class SourceFile(msgspec.Struct, frozen=True):
    """An open file with JSON."""

    name: str
    file: ByteFile
    changed_at: float
    """Unix time, seconds."""


def open_regular(path: Path) -> IO[bytes]:
    """Raises UnreadableError: missing, a folder, a pipe, no permission."""
    if special := special_file(path):
        raise UnreadableError(f"it is {special}", "Save it as a file first.")
    if os.path.isdir(path):
        raise UnreadableError("it is a folder", f"Name the files in it: {path}/*.json")
    try:
        return path.open("rb")
    except (OSError, ValueError) as error:
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from error


def open_sources(path: Path, report: Report) -> Iterator[SourceFile]:
    """`path`, or the members of the zip at `path`, one after the other.

    Raises:
        UnreadableError.
    """
    with open_regular(path) as file:
        head = file.read(64)
        file.seek(0)
        if head.startswith(b"PK\x03\x04"):
            yield from _members(file, path.name, report)
            return
        status = os.fstat(file.fileno())
        _require_utf_8(head)
        counted = _CountedFile(file, lambda done: report(done, status.st_size, path.name))
        yield SourceFile(path.name, counted, status.st_mtime)


def _require_utf_8(head: bytes) -> None:
    for encoding in _OTHER_ENCODINGS if b"\0" in head[:4] else ():
        if head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n").startswith(("[", "{")):
            raise UnreadableError(
                f"it is in {encoding[:6].upper()}",
                f"Convert it to UTF-8: iconv -f {encoding[:6].upper()} -t UTF-8 FILE > NEW",
            )
    if b"\0" in head[:2]:
        raise UnreadableError(NOT_TEXT, NOT_AN_EXPORT)


def is_text(start: bytes) -> bool:
    """Whether a file that begins with `start` is text in UTF-8, in which no text has a null character."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\0" not in start


@contextmanager
def _opened_zip(file: IO[bytes]) -> Generator[zipfile.ZipFile]:
    """Raises UnreadableError, also for what is read in the block."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except NotImplementedError as error:  # an unknown kind of compression
        raise UnreadableError(
            f"the zip cannot be read ({error})", "Unpack it, and import the JSON in it."
        ) from error
    # Zipfile's words are about its format. The others: a place before the file's beginning, a name that is not UTF-8.
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UnreadableError("the zip is damaged", "Download it again.") from error
    except RuntimeError as error:
        raise UnreadableError("the zip has a password", "Unpack it, and import the JSON in it.") from error


def _members(file: IO[bytes], name: str, report: Report) -> Iterator[SourceFile]:
    with _opened_zip(file) as archive:
        members = _chosen(archive)
        total, before = sum(each.file_size for each in members), 0
        for member in members:
            with archive.open(member) as opened:
                counted = _CountedFile(opened, lambda done, at=before: report(at + done, total, name))
                yield SourceFile(f"{name}, {member.filename}", counted, _time_of(member))
            before += member.file_size


def ignored_in(path: Path) -> str:
    """A sentence on the files in the zip at `path` that are not read; empty if all are, and for any other file."""
    try:
        with open_regular(path) as file, _opened_zip(file) as archive:
            read = {each.filename for each in _chosen(archive)}
            ignored = [each for each in archive.namelist() if each not in read and not each.endswith("/")]
    except UnreadableError:  # reading it reports that
        return ""
    more = len(ignored) - _NAMED
    names = f"{', '.join(ignored[:_NAMED])}{f' and {more:,} more' if more > 0 else ''}"
    return f"Not read in {path.name}: {names}." if ignored else ""


def _chosen(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Raises UnreadableError."""
    members = [each for each in archive.infolist() if each.filename.lower().endswith((".json", ".jsonl"))]
    named = [each for each in members if _CONVERSATIONS.fullmatch(os.path.basename(each.filename))]
    if not members:
        raise UnreadableError("the zip has no JSON file", NOT_AN_EXPORT)
    for each in named or members:
        if each.file_size > _BOMB_BYTES and each.file_size > _BOMB_RATIO * each.compress_size:
            raise UnreadableError(
                f"it would unpack to {each.file_size >> 20:,} MB from {each.compress_size >> 10:,} kB",
                "No text shrinks that much: this is not an export.",
                each.filename,
            )
    return named or members


def _time_of(member: zipfile.ZipInfo) -> float:
    with suppress(ValueError, OverflowError):
        return float(max(0, calendar.timegm((*member.date_time, 0, 0, 0))))
    return 0.0


class _CountedFile:
    """A file that reports how far it is read, and turns errors of zips and disks into `UnreadableError`."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file = file
        self._report = report
        self._done = 0

    def read(self, size: int = -1, /) -> bytes:
        try:
            chunk = self._file.read(size)
        except (zlib.error, EOFError, zipfile.BadZipFile) as error:
            raise UnreadableError("the zip is damaged", "Download it again.") from error
        except OSError as error:
            raise UnreadableError(f"it cannot be read: {error.strerror}") from error
        self._done += len(chunk)
        self._report(self._done)
        return chunk
