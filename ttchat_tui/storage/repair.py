"""Repair of a damaged database: the newest good backup, and every row that can still be read, in a new file."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shlex
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.backups import backup_folder, backups_of
from ttchat_tui.storage.damaged_rows import SavedRows, StoredRow, read_damaged, read_rows
from ttchat_tui.storage.database import Database, Transaction, open_copy, open_database, require_files
from ttchat_tui.storage.errors import StorageError, raising_storage_errors, to_storage_error
from ttchat_tui.storage.files import companions, logs, sync_folder
from ttchat_tui.storage.migration import MIGRATIONS, columns_at, columns_in, newer, steps
from ttchat_tui.storage.salvage import (
    add_backup,
    drop_invalid,
    is_readable_reply,
    is_readable_sampling,
    is_same_database,
    mend_references,
)

log = logging.getLogger(__name__)

_MAGIC: Final = b"SQLite format 3\0"
_FILE_HEADER: Final = 100
"""Bytes."""
_LOCK_BYTES: Final = (0x40000000, 512)
"""Offset and length of the bytes that SQLite locks (os_unix.c: PENDING_BYTE, RESERVED_BYTE and SHARED_SIZE). Each process
that has a database in WAL mode open holds a shared lock there."""
_HIGHEST_VERSION: Final = 999
"""Migrations are named NNN.sql: a higher version is damage."""
_HIGHEST_SIGNED: Final = 2**31 - 1
"""SQLite's version is a signed integer; a negative one is damage."""


class Repair(msgspec.Struct, frozen=True):
    """What was saved, and where the damaged file is now."""

    messages: int
    known_messages: int
    conversations: int
    kept_as: Path
    backup: Path | None
    """The backup that was used; None: there is no good one."""
    from_backup: int
    """Messages that only the backup had."""


def repair(
    path: Path, *, clock: Callable[[], float] = time.time, migrations: Path = MIGRATIONS
) -> Repair | None:
    """Put a database of all that can be read in the place of the damaged one; None if there is no damage.

    Its rows are those of the newest good backup, and those that the damaged file still has. That file and its log
    become `<name>.damaged-N`. Nobody else may have the file open meanwhile.

    Raises:
        StorageError: and nothing was changed. `not_found`: there is no such file. `database_locked`: another program
            has it open. `database_newer`. `database_corrupt`: neither file nor backups can be read. Others: the
            file could not be opened or written.
    """
    require_files(path)
    with raising_storage_errors(backup_folder(path)):
        backups = backups_of(path, now=clock())
    path = Path(os.path.realpath(path))
    with raising_storage_errors(path), _alone_with(path) as file, _folder_beside(path) as folder:
        copy = _copied(file, path, folder)
        if _is_whole(copy, path, migrations):
            return None
        found = _read(copy, _first_page(folder, migrations), clock(), migrations)
        backup, rows = _newest_good(backups, found, migrations)
        drop_invalid(rows, clock())
        from_backup = add_backup(found, rows)
        if found.is_empty:
            raise _nothing_left(path)
        mend_references(found)
        written = _write(found, folder / "repaired.db", migrations)
        kept_as = _put_in_place(written, path)
    counts = (len(found.messages), found.known_messages, len(found.conversations))
    return Repair(*counts, kept_as, backup, from_backup)


@contextmanager
def _alone_with(path: Path) -> Generator[BinaryIO]:
    """The file, locked as SQLite locks it to write. Closing any other handle of this process on it ends the lock."""
    try:
        file = path.open("r+b")
    except FileNotFoundError as error:
        raise _missing(path) from error
    with file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES[1], _LOCK_BYTES[0])
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                raise _in_use(path) from error
            # A file system without locks: SQLite has none there either.
        yield file


@contextmanager
def _folder_beside(path: Path) -> Generator[Path]:
    """A temporary folder (0700) on the same disk, so that its files can be renamed into place."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.repair-") as folder:
        yield Path(folder)


def _copied(file: BinaryIO, path: Path, folder: Path) -> Path:
    copy = folder / "damaged.db"
    with copy.open("wb") as target:
        shutil.copyfileobj(file, target)
    for log, copied in zip(logs(path), logs(copy), strict=True):
        with suppress(FileNotFoundError):
            shutil.copyfile(log, copied)
    return copy


def _is_whole(copy: Path, path: Path, migrations: Path) -> bool:
    """Whether SQLite finds nothing wrong, and the app can read every row."""
    newest = steps(migrations)[-1][0]
    version = _version(_header(copy))
    if newest < version <= _HIGHEST_VERSION:
        raise newer(path, version, newest)
    try:
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            if connection.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                return False
            if newest < version <= _HIGHEST_SIGNED:  # the file is intact, and so is this number
                raise newer(path, version, newest)
            if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
                return False
            if version == 0:  # a new file without tables
                return connection.execute("SELECT * FROM sqlite_master").fetchone() is None
            if version > newest or columns_in(connection) != columns_at(version, migrations):
                return False
            return _is_every_row_readable(connection)
    except UnicodeDecodeError:
        return False
    except sqlite3.DatabaseError as error:
        if to_storage_error(error, copy).info.kind == "disk_full":
            raise
        return False


def _is_every_row_readable(connection: sqlite3.Connection) -> bool:
    """Raises sqlite3.DatabaseError, UnicodeDecodeError: one is not even text."""
    messages = connection.execute("SELECT * FROM messages")
    conversations = connection.execute("SELECT * FROM conversations")
    for table in ("app_state", "queue"):
        connection.execute(f"SELECT * FROM {table}").fetchall()
    return all(map(is_readable_reply, messages)) and all(
        is_readable_sampling(row["sampling"]) for row in conversations
    )


def _read(copy: Path, first_page: bytes, now: float, migrations: Path) -> SavedRows:
    """The better of two readings. If they are equal: that with our schema, unless the file has an older one."""
    is_older = 0 < _version(_header(copy)) < steps(migrations)[-1][0]
    unchanged, with_our_schema = read_damaged(copy, first_page)
    for reading in (unchanged, with_our_schema):
        drop_invalid(reading, now)
    preferred = (unchanged, with_our_schema) if is_older else (with_our_schema, unchanged)
    found = max(preferred, key=lambda rows: rows.size)
    # Only the file's own schema knows where these tables begin.
    found.queue, found.recordings = unchanged.queue, unchanged.recordings
    return found


def _header(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(_FILE_HEADER)


def _version(header: bytes) -> int:
    """0 if the header is damaged."""
    return int.from_bytes(header[60:64], "big") if header.startswith(_MAGIC) else 0


def _first_page(folder: Path, migrations: Path) -> bytes:
    """That of an empty database with the tables of version 1, as they are now: later ones do not begin on the same page in
    every database. Without triggers and indexes that no reading needs: the schema must fit on this page."""
    empty = folder / "empty.db"
    database = open_database(empty, migrations=migrations)
    database.rows("PRAGMA writable_schema = ON")
    with database.transaction() as transaction:
        first = sorted(columns_at(1, migrations))
        kept = transaction.execute(
            "SELECT * FROM sqlite_master WHERE (type = 'table' OR sql IS NULL OR name = 'messages_by_parent')"
            f" AND tbl_name IN ({', '.join('?' * len(first))})",
            first,
        ).fetchall()
        transaction.execute("DELETE FROM sqlite_master")  # or it would stay on the pages that it has grown to
        transaction.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", map(tuple, kept))
    page_size: int = database.rows("PRAGMA page_size")[0][0]
    database.close()  # which merges the log
    with empty.open("rb") as file:
        return file.read(page_size)


def _newest_good(
    backups: Sequence[Path], found: SavedRows, migrations: Path
) -> tuple[Path | None, SavedRows]:
    """The newest intact backup of the database that `found` is from, and its rows."""
    for backup in backups:
        try:
            with closing(open_copy(backup, migrations=migrations)) as database:
                if database.rows("PRAGMA integrity_check(1)")[0][0] == "ok":
                    rows = read_rows(database.rows)
                    if is_same_database(found, rows):
                        return backup, rows
        except StorageError as error:
            log.warning("the backup %s cannot be read: %s", backup, error)
    return None, SavedRows()


def _write(found: SavedRows, target: Path, migrations: Path) -> Path:
    database = open_database(target, migrations=migrations)
    with closing(database):
        with database.transaction(is_durable=True) as transaction:
            headless = [{**row, "head_id": None} for row in found.conversations.values()]
            _insert(transaction, "conversations", headless)
            parents_first = [row for _, row in sorted(found.messages.items())]
            _insert(transaction, "messages", parents_first)
            _insert(transaction, "recordings", found.recordings.values())
            transaction.executemany(
                "UPDATE conversations SET head_id = ? WHERE id = ?",
                [(row["head_id"], conversation) for conversation, row in found.conversations.items()],
            )
            _insert(transaction, "queue", found.queue.values())
            for table, highest in found.sequences.items():
                transaction.execute(
                    "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (highest, table)
                )
            if found.draft:
                _insert(transaction, "app_state", [{"key": "new_draft", "value": found.draft}])
        _require_whole(database)
    return target


def _insert(transaction: Transaction, table: str, rows: Iterable[StoredRow]) -> None:
    """Insert `rows`, without columns that the table does not have."""
    known = {column[1] for column in transaction.execute(f"PRAGMA table_info ({table})")}
    for row in rows:
        kept = {name: value for name, value in row.items() if name in known}
        marks = ", ".join("?" * len(kept))
        transaction.execute(f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({marks})", tuple(kept.values()))


def _require_whole(database: Database) -> None:
    finding = database.rows("PRAGMA integrity_check(1)")[0][0]
    if finding != "ok" or database.rows("PRAGMA foreign_key_check"):
        raise sqlite3.DatabaseError(f"the repaired database is malformed: {finding}")


def _put_in_place(written: Path, path: Path) -> Path:
    """Keep the damaged file under another name, put `written` in its place, and return that name.

    The logs go first: SQLite would apply them to another file of that name. The damaged file has both names until
    `written` replaces it: after a crash in between, the app finds damage again and not an empty place.
    """
    number = 1
    while any(map(os.path.lexists, _files_of(_damaged_name(path, number)))):
        number += 1
    kept_as = _damaged_name(path, number)
    moved: list[tuple[Path, Path]] = []
    try:
        for before, after in zip(companions(path), companions(kept_as), strict=True):
            with suppress(FileNotFoundError):
                os.rename(before, after)
                moved.append((before, after))
        try:
            os.link(path, kept_as)
        except OSError:  # a file system without hard links
            os.rename(path, kept_as)
            moved.append((path, kept_as))
        os.rename(written, path)
    except OSError:
        for before, after in reversed(moved):
            os.rename(after, before)
        kept_as.unlink(missing_ok=True)  # the link
        raise
    sync_folder(path.parent)
    return kept_as


def _damaged_name(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.damaged-{number}")


def _files_of(path: Path) -> list[Path]:
    return [*companions(path), path]


def _missing(path: Path) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="not_found",
            message=f"There are no conversations to repair: {path} does not exist.",
            cure="`ttchat-tui paths` shows where they should be.",
        )
    )


def _in_use(path: Path) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="database_locked",
            message=f"Another program has {path} open; nothing was changed.",
            cure=f"Close ttchat-tui, or whichever program it is (`fuser {shlex.quote(str(path))}` names it), then run "
            "`ttchat-tui repair` again.",
        )
    )


def _nothing_left(path: Path) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="database_corrupt",
            message=f"No conversation can be read from {path}, and there is no good backup; nothing was changed.",
            cure="To start with a new file, move this one away: "
            + shlex.join(["mv", str(path), f"{path}.damaged"]),
        )
    )
