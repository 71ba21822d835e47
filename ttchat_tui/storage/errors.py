"""StorageError: failures of the conversations' files, with a sentence and a cure."""

from __future__ import annotations

import errno
import shlex
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ttchat_tui.domain.errors import AppError, ErrorInfo, ErrorKind


class StorageError(AppError):
    """Every error that storage raises."""

    def __init__(self, info: ErrorInfo) -> None:
        super().__init__(info.message, info.cure, info.kind)


# SQLite's primary result codes (sqlite.org/rescode.html), and fragments of its messages: Python has the codes
# only from 3.11.
_SQLITE_KINDS: Final[tuple[tuple[ErrorKind, frozenset[int], tuple[str, ...]], ...]] = (
    ("database_locked", frozenset({5, 6, 15}), ("is locked", "locking protocol")),
    ("database_read_only", frozenset({8}), ("readonly database",)),
    ("disk_full", frozenset({13}), ("or disk is full",)),
    ("database_corrupt", frozenset({11, 26}), ("malformed", "not a database", "decode to UTF-8")),
    ("database_unopenable", frozenset({14}), ("unable to open",)),
    ("permission_denied", frozenset({3, 23}), ("access permission", "authorization denied")),
)

_OS_KINDS: Final[dict[int | None, ErrorKind]] = {
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
    errno.EROFS: "database_read_only",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
}

REPAIR: Final = "Quit, then run `ttchat-tui repair`: it restores what it can and keeps the damaged file."

_ROOM_TO_OPEN: Final = 64 << 10
"""Bytes: the shared memory file takes 32 KB, the log a few pages."""

_SENTENCES: Final[dict[ErrorKind, tuple[str, str]]] = {
    "database_locked": (
        "The conversations in {path} are locked by another program.",
        "Close what holds the file (`fuser {path}` names it), then try again.",
    ),
    "database_read_only": (
        "The conversations cannot be written: {path} is read-only.",
        "Make the file and its folder writable: chmod u+rw {path}; chmod u+rwx {folder}",
    ),
    "disk_full": (
        "The disk is full: {path} could not be written.",
        "Free some space (`df -h {folder}`), then try again; what was stored before is intact.",
    ),
    "database_corrupt": (
        "The conversations are damaged: {path} is not a readable database.",
        REPAIR,
    ),
    "database_unopenable": (
        "The conversations in {path} cannot be opened.",
        "Check that the folder exists and is yours: ls -ld {folder}",
    ),
    "permission_denied": (
        "No permission to open {path}.",
        "Take ownership of the folder: chown -R $USER {folder}",
    ),
}


def to_storage_error(error: sqlite3.Error | OSError, path: Path) -> StorageError:
    """`error` as a `StorageError` that names `path` and a cure."""
    kind = _kind(error)
    if kind == "storage_failed" and _is_full(path.parent):
        kind = "disk_full"
    if kind not in _SENTENCES:
        message = f"The conversations in {path} failed: {error}."
        return StorageError(
            ErrorInfo(kind=kind, message=message, cure="`ttchat-tui repair` checks whether they are damaged.")
        )
    return _of_kind(kind, path)


def _is_full(folder: Path) -> bool:
    """SQLite raises an I/O error when its shared memory file does not fit on the disk."""
    try:
        return shutil.disk_usage(folder).free < _ROOM_TO_OPEN
    except OSError:
        return False


def read_only(path: Path) -> StorageError:
    """For a file that is readable but not writable, whichever error SQLite raised."""
    return _of_kind("database_read_only", path)


def _of_kind(kind: ErrorKind, path: Path) -> StorageError:
    message, cure = _SENTENCES[kind]
    cure = cure.format(path=shlex.quote(str(path)), folder=shlex.quote(str(path.parent)))
    return StorageError(ErrorInfo(kind=kind, message=message.format(path=path), cure=cure))


def _kind(error: sqlite3.Error | OSError) -> ErrorKind:
    if isinstance(error, OSError):
        return _OS_KINDS.get(error.errno, "database_unopenable")
    code: int | None = getattr(error, "sqlite_errorcode", None)
    text = str(error)
    for kind, codes, fragments in _SQLITE_KINDS:
        # The low byte is the primary code; extended ones carry details above it.
        if (code is not None and code & 0xFF in codes) or any(fragment in text for fragment in fragments):
            return kind
    return "storage_failed"


@contextmanager
def raising_storage_errors(path: Path) -> Generator[None]:
    """Turn errors of SQLite and the file system into `StorageError`.

    Bugs pass through: `sqlite3.ProgrammingError` (a closed connection), a failed CHECK. A failed foreign key is no bug:
    another window has deleted what this one still shows.
    """
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.IntegrityError as error:
        if "FOREIGN KEY" not in str(error):
            raise
        raise not_found("The message it belongs to") from error
    except (sqlite3.Error, OSError) as error:
        raise to_storage_error(error, path) from error
    except UnicodeDecodeError as error:  # SQLite's message quotes a damaged schema
        raise _of_kind("database_corrupt", path) from error


def not_found(what: str) -> StorageError:
    """`what` begins the sentence: a conversation or message that was deleted, here or in another window."""
    return StorageError(
        ErrorInfo(
            kind="not_found",
            message=f"{what} no longer exists: it was deleted, perhaps in another window.",
            cure="/undo in that window restores it; a new conversation (ctrl+n) takes your text.",
        )
    )
