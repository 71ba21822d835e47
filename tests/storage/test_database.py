"""The database file: private, shared, intact after an error, and every error with a sentence and a cure."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.storage.examples import ask, mode_of
from ttchat_tui.storage import database as database_module
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_database
from ttchat_tui.storage.errors import StorageError, to_storage_error
from ttchat_tui.storage.opening import open_store


def test_the_database_is_private(store: ConversationStore, path: Path) -> None:
    ask(store)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == [f"conversations.db{end}" for end in ("", "-shm", "-wal")]
    assert {mode_of(file) for file in files} == {0o600}
    assert mode_of(path.parent) == 0o700


def test_a_file_that_others_could_read_is_made_private(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o644)
    open_store(path).close()
    assert mode_of(path) == 0o600


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    open_store(folder / "conversations.db").close()
    assert mode_of(folder) == 0o755


def test_a_path_with_uri_characters_is_opened_literally(tmp_path: Path) -> None:
    path = tmp_path / "a b?mode=memory#%41" / "conversations.db"
    store = open_store(path)
    message = ask(store)
    store.close()
    again = open_store(path)
    assert again.message(message.id) == message
    again.close()


def test_closing_merges_the_log_into_one_file(store: ConversationStore, path: Path) -> None:
    ask(store)
    store.close()
    assert [file.name for file in path.parent.iterdir()] == ["conversations.db"]
    store.close()


def test_an_error_in_a_transaction_rolls_it_back(path: Path) -> None:
    database = open_database(path)
    with suppress(RuntimeError), database.transaction() as transaction:
        transaction.execute("INSERT INTO app_state VALUES ('a', 'b')")
        raise RuntimeError
    assert database.rows("SELECT * FROM app_state") == []
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO app_state VALUES ('a', 'c')")
    assert [tuple(row) for row in database.rows("SELECT * FROM app_state")] == [("a", "c")]
    database.close()


def test_a_user_message_waits_for_the_disk_and_a_checkpoint_does_not(path: Path) -> None:
    database = open_database(path)
    for is_durable, level in ((True, 2), (False, 1)):
        with database.transaction(is_durable=is_durable) as transaction:
            assert transaction.execute("PRAGMA synchronous").fetchone()[0] == level
    database.close()


def test_a_full_disk_is_reported_and_the_call_works_once_there_is_space(path: Path) -> None:
    database = open_database(path)
    store = ConversationStore(database)
    message = ask(store, "before")
    pages = database.rows("PRAGMA page_count")[0][0]
    database.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError, match="disk is full") as caught:
        store.add_user_message(message.conversation_id, message.id, "x" * 100_000)
    assert caught.value.info.kind == "disk_full"
    assert str(path) in caught.value.info.message
    assert store.conversation(message.conversation_id).head_id == message.id
    assert store.children(message.id, message.conversation_id) == []
    database.rows("PRAGMA max_page_count = 1000000")
    later = store.add_user_message(message.conversation_id, message.id, "x" * 100_000)
    assert store.path(later.id) == [message, later]
    store.close()


def test_a_lasting_lock_is_reported_and_the_call_works_once_it_is_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    store = open_store(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked by another program") as caught:
        ask(store)
    assert caught.value.info.kind == "database_locked"
    other.execute("ROLLBACK")
    assert store.message(ask(store).id).content == "Hello?"
    other.close()
    store.close()


def test_a_first_start_waits_for_another_first_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        other.close()

    monkeypatch.setattr(database_module.time, "sleep", wait)
    open_database(path).close()
    assert len(waits) == 1


FIRST_START = """
import sys
from pathlib import Path
from ttchat_tui.storage.opening import open_store
sys.stdin.readline()
store = open_store(Path(sys.argv[1]))
print(store.mode, store.notice)
store.close()
"""


def test_four_first_starts_at_once_make_one_database(path: Path) -> None:
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_START, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for start in starts:
        assert start.stdin is not None
        start.stdin.write("go\n")
        start.stdin.flush()
    assert [start.communicate(timeout=60)[0].strip() for start in starts] == ["read-write None"] * 4


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sqlite3.OperationalError("database is locked"), "database_locked"),
        (sqlite3.OperationalError("database table is locked"), "database_locked"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "database_read_only"),
        (sqlite3.OperationalError("database or disk is full"), "disk_full"),
        (sqlite3.DatabaseError("database disk image is malformed"), "database_corrupt"),
        (sqlite3.DatabaseError("file is not a database"), "database_corrupt"),
        (sqlite3.OperationalError("unable to open database file"), "database_unopenable"),
        (sqlite3.OperationalError("disk I/O error"), "storage_failed"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (OSError(errno.EROFS, "Read-only file system"), "database_read_only"),
        (PermissionError(errno.EACCES, "Permission denied"), "permission_denied"),
    ],
)
def test_every_failure_names_the_file_and_has_a_kind_even_without_codes(
    error: sqlite3.Error | OSError, kind: str
) -> None:
    info = to_storage_error(error, Path("/data/conversations.db")).info
    assert info.kind == kind
    assert "/data/conversations.db" in info.message
    assert info.cure or kind == "storage_failed"
