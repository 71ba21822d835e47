"""The app gets a store whatever is wrong with the file, and the file is not changed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.storage.examples import HandClock, answer, ask, mode_of, without_root
from ttchat_tui.storage import database as database_module
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_scratch_store, open_store


def fill(path: Path) -> Path:
    """A database with one question and one answer, closed."""
    store = open_store(path)
    answer(store, ask(store, "Kept?"), "Kept.")
    store.close()
    return path


@pytest.fixture
def filled(path: Path) -> Path:
    return fill(path)


def texts(store: ConversationStore) -> list[str]:
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    return [message.content for message in store.path(latest.head_id)]


def assert_reads_and_does_not_keep(store: ConversationStore, kind: str, path: Path) -> None:
    assert store.mode == "read-only"
    assert store.notice is not None
    assert store.notice.kind == kind
    assert str(path) in store.notice.message
    assert "Nothing of this session is kept" in store.notice.message
    assert store.notice.cure
    assert texts(store) == ["Kept?", "Kept."]
    latest = store.latest()
    assert latest is not None
    message = store.add_user_message(latest.id, latest.head_id, "Not kept.")
    assert store.path(message.id)[-1] == message
    store.close()
    again = open_store(path)
    assert texts(again) == ["Kept?", "Kept."]
    again.close()


def test_a_file_that_is_write_protected_is_read_and_stays_protected(reachable_path: Path) -> None:
    path = fill(reachable_path)
    path.chmod(0o444)
    with without_root(path.parent):
        store = open_store(path)
        assert mode_of(path) == 0o400
    assert_reads_and_does_not_keep(store, "database_read_only", path)


def test_a_folder_that_is_write_protected_is_read_although_the_log_needs_a_place(
    reachable_path: Path,
) -> None:
    path = fill(reachable_path)
    path.parent.chmod(0o500)
    with without_root(path.parent):
        store = open_store(path)
    assert_reads_and_does_not_keep(store, "database_read_only", path)


def test_a_folder_that_cannot_be_written_gives_an_empty_store(reachable_path: Path) -> None:
    reachable_path.parent.mkdir(mode=0o500)
    with without_root(reachable_path.parent):
        store = open_store(reachable_path)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "permission_denied"
    assert texts_of_new_session(store) == ["Hello?", "Hello."]
    store.close()


def test_a_folder_that_may_not_be_entered_gives_an_empty_store(reachable_path: Path) -> None:
    path = fill(reachable_path)
    path.parent.chmod(0o000)
    with without_root(path.parent):
        store = open_store(path)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "permission_denied"
    store.close()


def test_no_space_for_shared_memory_is_a_full_disk_and_the_file_is_read(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(database_module, "_use_write_ahead_log", fail)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=4096))
    store = open_store(filled)
    monkeypatch.undo()
    assert_reads_and_does_not_keep(store, "disk_full", filled)


DIES_WITH_A_LOG = """
import os, sys
from pathlib import Path
from tests.storage.examples import ask, answer
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
answer(store, ask(store, "Kept?"), "Kept.")
os._exit(9)
"""


def test_a_log_that_a_crash_left_in_a_write_protected_folder_is_read_as_well(reachable_path: Path) -> None:
    path = reachable_path
    subprocess.run([sys.executable, "-c", DIES_WITH_A_LOG, str(path)], check=False, timeout=60)
    log = Path(f"{path}-wal")
    size = log.stat().st_size
    assert size > 0
    Path(f"{path}-shm").unlink()
    path.parent.chmod(0o500)
    with without_root(path.parent):
        store = open_store(path)
    assert store.mode == "read-only"
    assert texts(store) == ["Kept?", "Kept."]
    store.close()
    assert log.stat().st_size == size


def test_a_database_locked_for_good_is_read_where_that_is_possible(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = open_store(filled)
    other.execute("ROLLBACK")
    other.close()
    assert_reads_and_does_not_keep(store, "database_locked", filled)


def test_a_database_without_read_permission_gives_an_empty_store(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("PRAGMA journal_mode = DELETE")
    other.execute("BEGIN EXCLUSIVE")
    store = open_store(filled)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "database_locked"
    store.close()
    other.close()


@pytest.mark.parametrize(
    ("offset", "damage"),
    [(0, b"This is a letter, not a database."), (4096, b"\xff" * 4096), (100, b"\x00" * 3000)],
    ids=["no header", "a page of rubbish", "the schema gone"],
)
def test_a_damaged_file_is_left_untouched_and_the_session_starts_empty(
    filled: Path, offset: int, damage: bytes
) -> None:
    content = bytearray(filled.read_bytes())
    content[offset : offset + len(damage)] = damage
    filled.write_bytes(content)
    store = open_store(filled)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "database_corrupt"
    assert str(filled) in store.notice.message
    assert "Nothing of this session is kept" in store.notice.message
    assert "`ttchat-tui repair`" in store.notice.cure
    assert store.conversations() == []
    assert texts_of_new_session(store) == ["Hello?", "Hello."]
    store.close()
    assert filled.read_bytes() == bytes(content)


def texts_of_new_session(store: ConversationStore) -> list[str]:
    answer(store, ask(store))
    return texts(store)


@pytest.mark.parametrize("is_locked", [False, True])
def test_the_database_of_a_newer_app_gives_an_empty_store_and_a_notice(
    filled: Path, is_locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 20)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("PRAGMA user_version = 4711")
    if is_locked:
        other.execute("BEGIN IMMEDIATE")
    store = open_store(filled)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "database_newer"
    store.close()
    other.close()


def test_a_folder_in_the_place_of_the_file_gives_an_empty_store(path: Path) -> None:
    path.mkdir(parents=True)
    store = open_store(path)
    assert store.mode == "memory"
    assert store.notice is not None
    assert texts_of_new_session(store) == ["Hello?", "Hello."]
    store.close()


def test_a_scratch_store_keeps_nothing_and_has_no_notice() -> None:
    store = open_scratch_store()
    assert (store.mode, store.notice) == ("memory", None)
    assert texts_of_new_session(store) == ["Hello?", "Hello."]
    store.close()


def test_what_was_deleted_thirty_days_ago_is_gone_at_the_next_start(path: Path, clock: HandClock) -> None:
    store = open_store(path, clock=clock)
    old, recent = ask(store, "secret-of-old"), ask(store, "recent")
    answer(store, old)
    store.delete(old.conversation_id)
    clock.now += 3600
    store.delete(recent.conversation_id)
    store.close()
    clock.now += 30 * 24 * 3600 - 1800
    store = open_store(path, clock=clock)
    store.undelete(recent.conversation_id)
    assert [each.id for each in store.conversations()] == [recent.conversation_id]
    store.close()
    assert b"secret-of-old" not in path.read_bytes()


def test_a_scratch_store_can_start_with_a_copy_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "conversations.db"
    kept = open_store(path)
    conversation = kept.create_conversation(model="m", system_prompt="", sampling=None)
    kept.add_user_message(conversation.id, None, "hello")
    kept.close()
    before = path.read_bytes()
    scratch = open_scratch_store(path)
    latest = scratch.latest()
    assert latest is not None
    scratch.add_user_message(latest.id, None, "more")
    scratch.close()
    assert path.read_bytes() == before
    path.write_bytes(b"no database" * 100)
    assert open_scratch_store(path).notice is not None
