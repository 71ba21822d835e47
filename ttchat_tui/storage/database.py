"""One SQLite file: opened privately, safe against kill -9 and power loss, shared with other instances of the app."""

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
from ttchat_tui.storage import lost_file
from ttchat_tui.storage.errors import StorageError, explained, explaining, not_found
from ttchat_tui.storage.files import companions, identity_of, logs
from ttchat_tui.storage.migration import MIGRATIONS, migrate, user_version
from ttchat_tui.storage.rows import storable, text_from

BUSY_TIMEOUT_MS: Final = 2_000
"""How long a call waits for another writer. Ours hold the lock for under a millisecond; it is called on the UI
thread, so that waiting longer would look like a hang."""

CHECKED_BYTES: Final = 4 << 20
"""Files up to this size are checked whole when opened (about 7 ms a MB, before the first frame); in larger ones damage
shows when it is met."""

_PLACELESS: Final = frozenset({"database_unopenable", "database_read_only", "disk_full"})

Value: TypeAlias = str | int | float | bytes | None


class Transaction:
    """All of it is stored, or nothing. Text goes in as UTF-8 can hold it, whoever it comes from."""

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
        """Raises StorageError, kind `not_found`, which says that `what` is not there, where no row was changed."""
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
        """A commit stands in the write-ahead log only."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called after every commit."""
        self._file = identity_of(path) if is_at_path else None
        self._connection = _prepared(connection)

    def rows(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        with explaining(self.path):
            return self._connection.execute(sql, _storable(values)).fetchall()

    def row(self, sql: str, *values: Value) -> sqlite3.Row | None:
        with explaining(self.path):
            return self._connection.execute(sql, _storable(values)).fetchone()

    @contextmanager
    def transaction(self, *, is_durable: bool = False) -> Generator[Transaction]:
        """All of the block or nothing of it, committed when it ends.

        A commit survives the death of the process in any case: the write-ahead log is in the kernel's hands.
        `is_durable` also waits for the disk (0.3 ms on an SSD), so that it survives a power loss: for what a person
        typed and for finished replies, not for the checkpoint of every second. First the file at the path is
        compared with the open one (0.01 ms), and written anew if it has gone.
        """
        with explaining(self.path):
            self._require_in_place()
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
            self.on_commit()

    def merge_log(self) -> None:
        """Copy what the write-ahead log has into the file, so that a copy of the file alone has it too.

        Waits for nobody: what others are reading stays in the log, and `is_log_filled` says so. A few pages, and two
        waits for the disk.
        """
        with explaining(self.path):
            _, logged, merged = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self.is_log_filled = merged < logged

    def _require_in_place(self) -> None:
        """Write the file anew where it has gone; beside the path, and work on that, where another one has its place.

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
            copy = lost_file.copy_beside(self._connection, lost)
        except (sqlite3.Error, OSError) as error:
            raise lost_file.gone(lost, getattr(error, "strerror", None) or str(error)) from error
        # First this: with its last connection SQLite deletes the log by its name, which would be the new file's.
        self._connection.close()
        if found is None and lost_file.put_in_place(copy, lost):
            self.file_notice = lost_file.written_anew(self.path)
        else:
            self.path = copy
            self.file_notice = lost_file.goes_on_beside(lost, copy)
        self._connection = _prepared(_connect(f"{self.path.absolute().as_uri()}?mode=rw"))
        _use_write_ahead_log(self._connection)
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._file = identity_of(self.path)

    def close(self) -> None:
        """Idempotent. The last connection to close merges the write-ahead log into the file."""
        with explaining(self.path):
            self._connection.close()


def open_database(path: Path, *, migrations: Path = MIGRATIONS) -> Database:
    """Open or create `path` for reading and writing, with the newest schema. It and its companions are 0600.

    Raises:
        StorageError: and the file is as it was, but for migrations that were complete.
    """
    with explaining(path):
        _make_place(path)
        connection = _connect(f"{path.absolute().as_uri()}?mode=rw")
        try:
            _check(connection, path)
            _make_private(path)
            _use_write_ahead_log(connection)
            _try_to_write(connection)
            migrate(connection, path, migrations)
            # What a crash left in the log, and a new schema: a copy of the file alone must be a database.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return Database(connection, path, is_at_path=True)


def open_copy(path: Path, *, migrations: Path = MIGRATIONS) -> Database:
    """Everything in `path`, copied to memory: it can be read and added to, and the file stays as it is.

    Raises:
        StorageError: when `path` cannot be read either.
    """
    require_files(path)
    connection = _connect(":memory:")
    try:
        with explaining(path):
            try:
                _load(path, connection)
            except sqlite3.Error as error:
                # A database in WAL mode needs its shared memory file even to be read, and on a full disk or in a
                # read-only folder there can be none: read a copy of the files instead.
                if explained(error, path).info.kind not in _PLACELESS:
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
    """An empty database that nothing keeps. `path` is what errors name."""
    connection = _connect(":memory:")
    migrate(connection, path)
    connection.execute("PRAGMA foreign_keys = ON")
    return Database(connection, path)


def _connect(uri: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun by `Database.transaction`, never by the driver's guess.
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
    """So that readers and the one writer do not wait for each other.

    File systems without shared memory (some network mounts) keep the rollback journal: all works there, slower.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Two first starts at once: SQLite does not wait by itself for this one lock.
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _try_to_write(connection: sqlite3.Connection) -> None:
    """SQLite opens a write-protected file without a word, and even begins a transaction: fail now, not at the first
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


def _make_place(path: Path) -> None:
    """Folders that are missing become 0700, a new file 0600; what is no file is refused.

    An existing folder keeps its mode: it may be the user's own, and hold more than ours.
    """
    require_files(path)
    missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
    # Never open a database past SQLite: closing it would drop the locks that this process holds on it (POSIX).
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _make_private(path: Path) -> None:
    """0600 for a file that has proved to be a database, and for its companions, where they are the user's own. What a
    link or a hard link in the database's place leads to is another's business until then."""
    for file in (path, *companions(path)):
        # A read-only disk: opening says more about it than chmod could.
        with suppress(OSError):
            found = file.stat()
            is_own = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
            if is_own and found.st_mode & 0o077:
                file.chmod(found.st_mode & 0o700)  # the owner's own bits stay: it may be read-only on purpose


def require_files(path: Path) -> None:
    """Refuse what SQLite would wait for (pipes, devices, sockets, by link or themselves), and what it cannot open.

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


def _folded(value: Value) -> str:
    return text_from(value).casefold()


def decoded_text(text: bytes) -> str:
    """As sqlite3 does, but that bytes which are no UTF-8 cost a character, and not the whole answer."""
    return text.decode("utf-8", "replace")
