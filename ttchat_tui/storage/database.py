"""One SQLite file: private, safe against kill -9 and power loss, shared with other instances of the app."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final, TypeAlias

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.storage import missing_file
from ttchat_tui.storage.errors import StorageError, not_found, raising_storage_errors, to_storage_error
from ttchat_tui.storage.files import companions, identity_of, logs
from ttchat_tui.storage.migration import MIGRATIONS, migrate, user_version
from ttchat_tui.storage.rows import storable, text_from

BUSY_TIMEOUT_MS: Final = 2_000
"""How long a call waits for another writer. Ours hold the lock for less than a millisecond, an import for about 50 ms at a
time. Calls come from the UI thread, where a longer wait would look like a hang."""

CHECKED_BYTES: Final = 4 << 20
"""Files up to this size are checked when opened (about 7 ms per MB, before the first frame). In larger ones the daily
backup finds damage."""

_UNWRITABLE: Final = frozenset({"database_unopenable", "database_read_only", "disk_full"})

Value: TypeAlias = str | int | float | bytes | None


class Transaction:
    """An open transaction. Text is made valid UTF-8 before it is stored."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Value] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, _storable(values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._connection.executemany(sql, map(_storable, rows))

    def insert(self, sql: str, values: Sequence[Value]) -> int:
        """The id of the new row."""
        row_id = self.execute(sql, values).lastrowid
        assert row_id is not None
        return row_id

    def change(self, what: str, sql: str, values: Sequence[Value]) -> None:
        """Raises StorageError, kind `not_found`, with `what` as its subject, if no row was changed."""
        if self.execute(sql, values).rowcount == 0:
            raise not_found(what)


class Database:
    """One connection, for one thread. Every error is a `StorageError` that names the file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, *, is_at_path: bool = False) -> None:
        """`path` is what errors name; the connection is to that file (`is_at_path`), or to a copy of it."""
        self.path = path
        self.file_notice: ErrorInfo | None = None
        """What has happened to the file, to be reported once."""
        self.is_log_filled = False
        """The write-ahead log has commits that are not in the file."""
        self.wake: Callable[[], None] = lambda: None
        """Called after every commit, and when there is a notice."""
        self._file = identity_of(path) if is_at_path else None
        self._connection = _prepared(connection)

    def rows(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        with raising_storage_errors(self.path):
            return self._connection.execute(sql, _comparable(values)).fetchall()

    def row(self, sql: str, *values: Value) -> sqlite3.Row | None:
        with raising_storage_errors(self.path):
            return self._connection.execute(sql, _comparable(values)).fetchone()

    @contextmanager
    def transaction(self, *, is_durable: bool = False) -> Generator[Transaction]:
        """A transaction: committed at the end of the block, rolled back on an exception.

        A commit always survives the end of the process: the kernel has the write-ahead log. With `is_durable` it also waits
        for the disk (0.3 ms on an SSD) and survives a power loss: for user messages and finished replies, not for
        checkpoints. First the file at the path is compared with the open one (0.01 ms) and written again if it is gone.
        """
        with raising_storage_errors(self.path):
            self._ensure_in_place()
            connection = self._connection
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
                connection.execute("COMMIT")
            except BaseException:
                # A full disk or an I/O error may have ended the transaction already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self.is_log_filled = self._file is not None
            self.wake()

    def merge_log(self) -> None:
        """Copy the write-ahead log into the file, so that a copy of the file alone is complete.

        Never waits for other connections: pages that they still read stay in the log, and `is_log_filled` stays true. Costs
        a few page writes and two syncs.
        """
        with raising_storage_errors(self.path):
            _, logged, merged = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.is_log_filled = merged < logged

    def _ensure_in_place(self) -> None:
        """Write the file again if it is gone. If another file has its place, write it beside that one and continue there.

        Raises:
            StorageError: `database_gone`: it could not be written.
        """
        if self._file is None:
            return
        found = identity_of(self.path)
        if found == self._file:
            return
        lost = Path(os.path.realpath(self.path))  # SQLite keeps the log beside what a link leads to
        try:
            copy = missing_file.copy_beside(self._connection, lost)
        except (sqlite3.Error, OSError) as error:
            raise missing_file.not_recreated(lost, getattr(error, "strerror", None) or str(error)) from error
        # Close first: the last connection deletes the log by name, and that will be the new file's name.
        self._connection.close()
        if found is None and missing_file.put_in_place(copy, lost):
            self.file_notice = missing_file.recreated_notice(self.path)
        else:
            self.path = copy
            self.file_notice = missing_file.continued_beside_notice(lost, copy)
        self._connection = _prepared(_connect(f"{self.path.absolute().as_uri()}?mode=rw"))
        _use_write_ahead_log(self._connection)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._file = identity_of(self.path)

    def close(self) -> None:
        """Idempotent. The last connection to close merges the write-ahead log into the file."""
        with raising_storage_errors(self.path):
            self._connection.close()


def open_database(path: Path, *, migrations: Path = MIGRATIONS) -> Database:
    """Open or create `path` for reading and writing, with the newest schema. It and its companions are 0600.

    Raises:
        StorageError: the file is unchanged, except for complete migrations.
    """
    with raising_storage_errors(path):
        _create_file(path)
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
        try:
            _check(connection, path)
            _make_private(path)
            _use_write_ahead_log(connection)
            _try_to_write(connection)
            migrate(connection, path, migrations)
            # Merge what a crash or a migration left in the log: a copy of the file alone must be complete.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return Database(connection, path, is_at_path=True)


def rows_beside(path: Path, sql: str) -> list[sqlite3.Row]:
    """Rows of the file, over a connection of its own, for another thread. Raises StorageError."""
    with raising_storage_errors(path), closing(_connect(f"{path.absolute().as_uri()}?mode=ro")) as connection:
        return _prepared(connection).execute(sql).fetchall()


def open_copy(path: Path, *, migrations: Path = MIGRATIONS, is_on_disk: bool = False) -> Database:
    """Copy `path` to memory, or to a nameless file that ends with the connection (`is_on_disk`), where it can be read and
    changed. The file is not changed.

    Raises:
        StorageError: `path` cannot be read.
    """
    require_files(path)
    connection = _connect("" if is_on_disk else ":memory:")
    try:
        with raising_storage_errors(path):
            try:
                _load(path, connection)
            except sqlite3.Error as error:
                # A database in WAL mode needs its shared memory file even to be read, and on a full disk or in a
                # read-only folder there can be none: read a copy of the files instead.
                if to_storage_error(error, path).info.kind not in _UNWRITABLE:
                    raise
                with tempfile.TemporaryDirectory(prefix="ttchat-") as folder:
                    _load(_copied(path, Path(folder)), connection)
            migrate(connection, path, migrations)
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return Database(connection, path)


def open_in_memory(path: Path) -> Database:
    """An empty database in memory. `path` is only named in errors."""
    connection = _connect(":memory:")
    migrate(connection, path)
    connection.execute("PRAGMA foreign_keys = ON")
    return Database(connection, path)


def _connect(uri: str) -> sqlite3.Connection:
    # Autocommit: `Database.transaction` begins transactions, never the driver.
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000, isolation_level=None)
    # Deleted conversations are overwritten, not only unlinked.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.row_factory = sqlite3.Row
    connection.text_factory = decoded_text
    connection.create_function("folded", 1, _folded, deterministic=True)
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `sqlite3.DatabaseError` for a file that is damaged."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if path.stat().st_size <= CHECKED_BYTES:
        finding: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if finding != "ok":
            raise sqlite3.DatabaseError(f"database disk image is malformed: {finding}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Readers and the one writer then do not wait for each other.

    File systems without shared memory (some network mounts) keep the rollback journal: everything works there, but slower.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Two first starts at once: SQLite's timeout does not apply to this lock.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _try_to_write(connection: sqlite3.Connection) -> None:
    """SQLite opens a write-protected file and even begins a transaction without an error: fail now, not at the first
    message."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA user_version = {user_version(connection):d}")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _load(path: Path, into: sqlite3.Connection) -> None:
    with closing(_connect(f"{path.absolute().as_uri()}?mode=ro")) as source:
        _check(source, path)
        source.backup(into)


def _copied(path: Path, folder: Path) -> Path:
    copy = folder / path.name
    shutil.copyfile(path, copy)
    for log, copied in zip(logs(path), logs(copy), strict=True):
        with suppress(FileNotFoundError):  # no log: the file is complete
            shutil.copyfile(log, copied)
    return copy


def _create_file(path: Path) -> None:
    """Create missing folders (0700) and a new file (0600). Refuses what is not a regular file.

    An existing folder keeps its mode: it may hold other files of the user.
    """
    require_files(path)
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    # Never open a database outside SQLite: closing it would drop the locks that this process holds on it (POSIX).
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _make_private(path: Path) -> None:
    """Set the file and its companions to 0600 if they belong to the user. Only for a file that is known to be a database: a
    link in its place may lead to any other file."""
    for file in (path, *companions(path)):
        # A read-only disk: opening the file reports that better.
        with suppress(OSError):
            found = file.stat()
            is_own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if is_own and found.st_mode & 0o077:
                file.chmod(found.st_mode & 0o700)  # keeps the owner's bits: it may be read-only on purpose


def require_files(path: Path) -> None:
    """Refuse what SQLite would block on (pipes, devices, sockets, also behind links) and what it cannot open.

    Raises:
        StorageError: `not_a_file`.
    """
    for file in (path, *companions(path)):
        if what := special_file(file) or _unopenable(file):
            raise StorageError(
                ErrorInfo(
                    kind="not_a_file",
                    message=f"The conversations cannot be opened: {file} is {what}.",
                    cure=f"Move it away: {shlex.join(['mv', str(file), f'{file}.old'])}",
                )
            )


def _unopenable(file: Path) -> str:
    if os.path.isdir(file):
        return "a folder"
    if os.path.islink(file) and not os.path.exists(file):
        return f"a link to {os.readlink(file)}, which is not there"
    return ""


def _storable(values: Sequence[Value]) -> list[Value]:
    return [storable(value) if isinstance(value, str) else value for value in values]


def _comparable(values: Sequence[Value]) -> list[Value]:
    """Numbers beyond SQLite's, which have 64 bits with a sign, become the nearest: there is no row with the one or the other."""
    least, most = -(2**63), 2**63 - 1
    return [min(max(value, least), most) if isinstance(value, int) else value for value in _storable(values)]


def _folded(value: Value) -> str:
    return text_from(value).casefold()


def decoded_text(text: bytes) -> str:
    """Decode as sqlite3 does, but replace invalid bytes instead of failing the query."""
    return text.decode("utf-8", "replace")
