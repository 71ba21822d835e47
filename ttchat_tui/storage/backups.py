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
from ttchat_tui.storage.files import sync_folder

log = logging.getLogger(__name__)

KEPT: Final = 5

_STEP_PAGES: Final = 1024
"""Pages copied at a time where a reader keeps writers out."""


def backup_folder(database: Path) -> Path:
    return database.parent / "backups"


def backups_of(database: Path) -> list[Path]:
    """Newest first. Other files in the folder are not ours. Raises OSError."""
    folder = backup_folder(database)
    pattern = re.compile(rf"{re.escape(database.stem)}-\d{{4}}-\d\d-\d\d{re.escape(database.suffix)}")
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(filter(pattern.fullmatch, names), reverse=True)]


def back_up(database: Path, *, clock: Callable[[], float] = time.time) -> ErrorInfo | None:
    """Make today's backup, unless it is there or another process is making it; then remove the sixth and older.

    Nothing is made of a database without messages. A failure is logged and costs nothing. Only damage to the database
    itself, which the check of the copy finds, is returned: the user should know, and the backups stay as they are.
    """
    day = datetime.fromtimestamp(clock()).date().isoformat()
    target = backup_folder(database) / f"{database.stem}-{day}{database.suffix}"
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        with _lock(target.parent / ".lock") as is_ours, raising_storage_errors(database):
            if is_ours and not os.path.lexists(target) and _make(database, target):
                for old in backups_of(database)[KEPT:]:
                    old.unlink()
    except (StorageError, OSError) as error:
        log.warning("no backup of %s was made: %s", database, error)
        if isinstance(error, StorageError) and error.info.kind == "database_corrupt":
            return error.info
    return None


@contextmanager
def _lock(path: Path) -> Generator[bool]:
    """Whether this process has the lock now; it is not waited for. The kernel drops it when the process dies."""
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
    """Whether there was something to keep.

    Raises:
        sqlite3.Error, OSError: `target` is not there.
    """
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)  # of a process that died: the lock is ours
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
    """Copy and check; whether there are messages in it. Raises sqlite3.Error."""
    with (
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # With a write-ahead log, one step copies one commit, and no writer waits for it. Without one a reader keeps
        # writers out: then a step is short.
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
