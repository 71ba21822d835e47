"""Migrations to the newest schema: NNN.sql files, one transaction each, after a backup."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.errors import StorageError, to_storage_error

MIGRATIONS: Final = Path(__file__).with_name("migrations")


def steps(folder: Path) -> list[tuple[int, Path]]:
    """The migrations in `folder`, by number: `NNN.sql` leads from version NNN-1 to NNN."""
    return sorted((int(path.stem), path) for path in folder.glob("[0-9][0-9][0-9].sql"))


def migrate(connection: sqlite3.Connection, path: Path, folder: Path = MIGRATIONS) -> None:
    """Run the missing migrations. `connection` is in autocommit mode, with foreign keys off (tables may be rebuilt).

    Several processes may do this at once: each step reads the version again once it holds the write lock.

    Raises:
        StorageError: `database_newer`: a later version of the app wrote the file; `migration_failed`: a step does not fit the
            stored rows.
        sqlite3.Error, OSError: other failures. The failed step is rolled back, and the backup is kept.
    """
    known = steps(folder)
    newest = known[-1][0]
    version = user_version(connection)
    if version > newest:
        raise newer(path, version, newest)
    began = version
    is_backed_up = version == 0
    for number, script in known:
        if number <= version:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = user_version(connection)
            if number > version:
                if not is_backed_up and version > 0:
                    _back_up(connection, path, version)
                is_backed_up = True
                _run(connection, script, number)
                version = number
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if (
                isinstance(error, sqlite3.Error)
                and to_storage_error(error, path).info.kind == "storage_failed"
            ):
                raise _failed(error, path, began, number) from error
            raise


def columns_at(version: int, folder: Path = MIGRATIONS) -> dict[str, list[str]]:
    """The columns of each table in a database of that version, in the order of its records."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for number, script in steps(folder):
            if number <= version:
                _run(connection, script, number)
        return columns_in(connection)


def columns_in(connection: sqlite3.Connection) -> dict[str, list[str]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    ).fetchall()
    return {
        table: [column[1] for column in connection.execute(f"PRAGMA table_info ({table})")]
        for (table,) in tables
    }


def user_version(connection: sqlite3.Connection) -> int:
    """The number of the last migration that ran; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _run(connection: sqlite3.Connection, script: Path, number: int) -> None:
    # Not executescript, which would commit this transaction.
    statement = ""
    for line in script.read_text(encoding="utf-8").splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""
    if re.sub(r"--.*", "", statement).strip():
        raise sqlite3.OperationalError(f"{script.name} ends in the middle of a statement")
    if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
        raise sqlite3.OperationalError(f"{script.name} leaves a dangling reference")
    connection.execute(f"PRAGMA user_version = {number:d}")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the database to `<name>.bak-v<version>`. The caller holds the write lock: nobody changes it meanwhile."""
    if is_in_memory(connection):
        return
    target = _backup_of(path, version)
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    # A separate connection: it reads the last commit, without the caller's open transaction.
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    os.replace(partial, target)


def _backup_of(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.bak-v{version}")


def is_in_memory(connection: sqlite3.Connection) -> bool:
    return not connection.execute("PRAGMA database_list").fetchone()[2]


def newer(path: Path, version: int, newest: int) -> StorageError:
    return StorageError(
        ErrorInfo(
            kind="database_newer",
            message=f"The conversations in {path} were written by a newer ttchat-tui (schema {version}, "
            f"this one knows {newest}).",
            cure="Use the newer version of ttchat-tui, or another data folder.",
        )
    )


def _failed(error: sqlite3.Error, path: Path, began: int, number: int) -> StorageError:
    """Steps before `number` may be done: an older app reads the copy that was made at version `began`."""
    backup = _backup_of(path, began)
    is_first = number == began + 1
    stays = "They are unchanged" if is_first else f"They are intact at schema {number - 1}"
    kept = f"; a copy from before the migration is {backup}" if backup.exists() else ""
    return StorageError(
        ErrorInfo(
            kind="migration_failed",
            message=f"The conversations in {path} could not be migrated to schema {number}: {error}. {stays}{kept}.",
            cure="Please report this message. "
            f"Your previous version of ttchat-tui still reads {'them' if is_first else 'that copy'}.",
        )
    )
