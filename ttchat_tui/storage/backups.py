"""Rolling backups of a database: at most one a day, the newest five, each checked before it gets its name."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.errors import StorageError, raising_storage_errors
from ttchat_tui.storage.files import companions, sync_folder

log = logging.getLogger(__name__)

KEPT: Final = 5

_STEP_PAGES: Final = 1024
"""Pages per step where a reader blocks writers."""


def backup_folder(database: Path) -> Path:
    return database.parent / "backups"


def backups_of(database: Path, *, now: float | None = None) -> list[Path]:
    """Newest first. Those dated after `now` come last: the clock was wrong when they were made.

    Other files in the folder are not ours. Raises OSError.
    """
    folder = backup_folder(database)
    pattern = re.compile(rf"{re.escape(database.stem)}-\d{{4}}-\d\d-\d\d{re.escape(database.suffix)}")
    names = os.listdir(folder) if folder.is_dir() else []
    today = _name(database, time.time() if now is None else now)
    found = sorted(filter(pattern.fullmatch, names), key=lambda name: (name <= today, name), reverse=True)
    return [folder / name for name in found]


def back_up(database: Path, *, clock: Callable[[], float] = time.time) -> ErrorInfo | None:
    """Make today's backup, unless it is there or another process is making it; then remove the sixth and older.

    A database without messages is not backed up. Failures are only logged, except damage to the database itself, which
    the check of the copy finds: it is returned for the user, and the earlier backups stay.
    """
    now = clock()
    target = backup_folder(database) / _name(database, now)
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        with _lock(target.parent / ".lock") as is_ours, raising_storage_errors(database):
            if is_ours and not os.path.lexists(target) and _make(database, target):
                for old in backups_of(database, now=now)[KEPT:]:
                    old.unlink()
    except (StorageError, OSError) as error:
        log.warning("no backup of %s was made: %s", database, error)
        if isinstance(error, StorageError) and error.info.kind == "database_corrupt":
            return error.info
    return None


def _name(database: Path, now: float) -> str:
    day = datetime.fromtimestamp(now).date().isoformat()
    return f"{database.stem}-{day}{database.suffix}"


@contextmanager
def _lock(path: Path) -> Generator[bool]:
    """Try to lock once; yields whether this process has the lock. The kernel releases it when the process dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _make(database: Path, target: Path) -> bool:
    """Make the backup `target`; return False, without one, if the database has no messages.

    Raises:
        sqlite3.Error, OSError: there is no `target`.
    """
    # Always the same name: the next backup, on whichever day, removes what a killed one has left. The lock is ours.
    partial = target.with_name(f".{database.name}.partial")
    for left in (*companions(partial), partial):
        left.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        has_messages = _copy(database, partial)
        if has_messages:
            _sync(partial)
            os.rename(partial, target)
            sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)
    return has_messages


def _copy(database: Path, target: Path) -> bool:
    """Copy the database and check the copy; return whether it has messages. Raises sqlite3.Error."""
    with (
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # With a write-ahead log, a single step copies one consistent state and blocks no writer. Without it a
        # reader blocks writers, so steps are short.
        has_log = source.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        source.backup(copy, pages=-1 if has_log else _STEP_PAGES)
        copy.execute("PRAGMA journal_mode = DELETE")  # a backup is one file, without companions
        finding: str = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if finding != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {finding}")
        return copy.execute("SELECT EXISTS (SELECT 1 FROM messages)").fetchone()[0] == 1


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
