"""Migrations: each step completely or not at all, after a backup."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.storage.examples import ask, mode_of, version_of
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_database
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.migration import MIGRATIONS, migrate, steps, user_version

STARS = """-- Stars; and a trigger, whose body has semicolons of its own.
CREATE TABLE stars (message_id INTEGER PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE);
CREATE TRIGGER starred AFTER INSERT ON stars BEGIN
    UPDATE conversations SET title = title || '*';
    UPDATE conversations SET title = title || '!';
END;
INSERT INTO stars SELECT id FROM messages;
-- The end.
"""


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """The shipped steps, to which a test adds."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


@pytest.fixture
def old(path: Path, migrations: Path) -> Path:
    """A database made by the shipped migrations, with a message in it."""
    store = ConversationStore(open_database(path, migrations=migrations))
    ask(store, "Old?")
    store.close()
    return path


def next_step(migrations: Path, script: str) -> int:
    number = steps(migrations)[-1][0] + 1
    (migrations / f"{number:03}.sql").write_text(script, encoding="utf-8")
    return number


def test_the_steps_that_are_shipped_have_no_gaps() -> None:
    numbers = [number for number, _ in steps(MIGRATIONS)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_new_database_gets_every_step_and_no_backup(path: Path, migrations: Path) -> None:
    number = next_step(migrations, STARS)
    open_database(path, migrations=migrations).close()
    assert version_of(path) == number
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_old_database_is_copied_and_then_changed(old: Path, migrations: Path) -> None:
    number = next_step(migrations, STARS)
    database = open_database(old, migrations=migrations)
    assert database.rows("SELECT title FROM conversations")[0][0] == "Old?*!"
    database.close()
    backup = old.with_name(f"{old.name}.bak-v{number - 1}")
    assert version_of(old) == number
    assert version_of(backup) == number - 1
    assert mode_of(backup) == 0o600
    before = sqlite3.connect(backup)
    assert before.execute("SELECT title, content FROM conversations, messages").fetchall() == [
        ("Old?", "Old?")
    ]
    before.close()


def test_one_backup_is_made_for_several_steps(old: Path, migrations: Path) -> None:
    first = next_step(migrations, STARS)
    next_step(migrations, "DROP TRIGGER starred;")
    open_database(old, migrations=migrations).close()
    backups = [file.name for file in old.parent.iterdir() if ".bak-" in file.name]
    assert backups == [f"{old.name}.bak-v{first - 1}"]


@pytest.mark.parametrize(
    "broken",
    [
        f"{STARS}CREATE TABLE stars (id);",
        f"{STARS}CREATE TABLE unfinished (id",
        f"{STARS}INSERT INTO stars VALUES (999);",
        f"{STARS}INSERT INTO stars VALUES (1);",
    ],
    ids=["a statement fails", "a statement never ends", "a reference leads nowhere", "a key is taken"],
)
def test_a_step_that_fails_leaves_no_trace(old: Path, migrations: Path, broken: str) -> None:
    number = next_step(migrations, broken)
    with pytest.raises(StorageError, match=f"migrated to schema {number}: .* They are unchanged") as caught:
        open_database(old, migrations=migrations)
    backup = old.with_name(f"{old.name}.bak-v{number - 1}")
    assert caught.value.info.kind == "migration_failed"
    assert f"a copy from before the migration is {backup}." in caught.value.info.message
    assert caught.value.info.cure.endswith("Your previous version of ttchat-tui still reads them.")
    assert version_of(old) == version_of(backup) == number - 1
    database = open_database(old)
    assert database.rows("SELECT name FROM sqlite_master WHERE name = 'stars'") == []
    database.close()


def test_a_second_step_that_fails_leaves_the_first_and_the_copy(old: Path, migrations: Path) -> None:
    first = next_step(migrations, STARS)
    next_step(migrations, "CREATE TABLE stars (id);")
    with pytest.raises(StorageError, match=f"They are intact at schema {first}; a copy") as caught:
        open_database(old, migrations=migrations)
    assert f"{old.name}.bak-v{first - 1}" in caught.value.info.message
    assert caught.value.info.cure.endswith("Your previous version of ttchat-tui still reads that copy.")
    assert version_of(old) == first


def test_a_step_that_another_process_has_just_run_is_not_repeated(old: Path, migrations: Path) -> None:
    number = next_step(migrations, STARS)

    class Overtaken(sqlite3.Connection):
        """Another process has the write lock first."""

        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            if sql == "BEGIN IMMEDIATE":
                open_database(old, migrations=migrations).close()
            return super().execute(sql, *values)

    connection = sqlite3.connect(old, isolation_level=None, factory=Overtaken)
    migrate(connection, old, migrations)
    assert user_version(connection) == number
    assert connection.execute("SELECT title FROM conversations").fetchone() == ("Old?*!",)
    connection.close()
    backup = old.with_name(f"{old.name}.bak-v{number - 1}")
    assert version_of(backup) == number - 1


def test_the_database_of_a_newer_app_is_refused_and_not_changed(old: Path, migrations: Path) -> None:
    next_step(migrations, STARS)
    open_database(old, migrations=migrations).close()
    before = old.read_bytes()
    with pytest.raises(StorageError, match="newer ttchat-tui") as caught:
        open_database(old)
    assert caught.value.info.kind == "database_newer"
    assert str(old) in caught.value.info.message
    assert old.read_bytes() == before
