"""Backups: one a day, five at most, checked, and the chat never waits."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.examples import HandClock, answer, ask, mode_of, without_root
from ttchat_tui.storage.backups import KEPT, back_up, backup_folder, backups_of
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store

DAY_S = 24 * 3600.0


def contents(backup: Path) -> list[str]:
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT content FROM messages ORDER BY id")]


def names(path: Path) -> list[str]:
    return sorted(each.name for each in backup_folder(path).iterdir())


def test_a_backup_is_one_private_file_with_the_latest_messages(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    answer(store, ask(store))
    assert back_up(path, clock=clock) is None
    (backup,) = backups_of(path)
    assert contents(backup) == ["Hello?", "Hello."]
    assert names(path) == [".lock", backup.name]
    assert mode_of(backup) == 0o600
    assert mode_of(backup.parent) == 0o700


def test_a_backup_and_an_open_write_do_not_wait_for_each_other(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    ask(store)
    with closing(sqlite3.connect(path, isolation_level=None)) as other_window:
        other_window.execute("BEGIN IMMEDIATE")
        other_window.execute("UPDATE messages SET content = 'half done'")
        back_up(path, clock=clock)
        other_window.execute("COMMIT")
    assert [contents(each) for each in backups_of(path)] == [["Hello?"]]


def test_there_is_one_backup_a_day_and_the_newest_five_are_kept(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    for day in range(KEPT + 2):
        for text in (f"morning {day}", f"evening {day}"):
            ask(store, text)
            back_up(path, clock=clock)
        clock.now += DAY_S
    kept = backups_of(path)
    assert len(kept) == KEPT
    assert [contents(each)[-1] for each in kept] == [f"morning {day}" for day in (6, 5, 4, 3, 2)]


def test_other_files_in_the_folder_are_left_alone(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    folder = backup_folder(path)
    folder.mkdir()
    others = ["conversations-2001-01-01.db.gz", "before the move.db", "conversations-old.db"]
    for name in others:
        (folder / name).write_text("mine")
    ask(store)
    for _ in range(KEPT + 2):
        back_up(path, clock=clock)
        clock.now += DAY_S
    assert {name: (folder / name).read_text() for name in others} == dict.fromkeys(others, "mine")
    assert len(backups_of(path)) == KEPT


def test_a_damaged_database_is_reported_and_replaces_no_backup(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    for number in range(20):
        answer(store, ask(store, f"{number} " * 500))
    back_up(path, clock=clock)
    (good,) = backups_of(path)
    before = good.read_bytes()
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    for _ in range(KEPT + 1):
        clock.now += DAY_S
        damage = back_up(path, clock=clock)
        assert damage is not None
        assert damage.kind == "database_corrupt"
        assert "`ttchat-tui repair`" in damage.cure
    assert names(path) == [".lock", good.name]
    assert good.read_bytes() == before


def test_a_database_without_messages_replaces_no_backup(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    ask(store)
    back_up(path, clock=clock)
    (good,) = backups_of(path)
    store.close()
    path.unlink()
    fresh = open_store(path, clock=clock)
    for _ in range(KEPT + 1):
        clock.now += DAY_S
        assert back_up(path, clock=clock) is None
    assert backups_of(path) == [good]
    fresh.close()


def test_a_partial_file_of_a_killed_backup_is_replaced(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    ask(store)
    back_up(path, clock=clock)
    (backup,) = backups_of(path)
    backup.rename(backup.with_name(f".{path.name}.partial"))
    back_up(path, clock=clock)
    assert names(path) == [".lock", backup.name]


def test_what_a_killed_backup_left_is_removed_on_another_day(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    ask(store)
    backup_folder(path).mkdir()
    for suffix in ("", "-journal", "-wal", "-shm"):
        (backup_folder(path) / f".conversations.db.partial{suffix}").write_bytes(b"half")
    clock.now += DAY_S
    back_up(path, clock=clock)
    assert names(path) == [".lock", backups_of(path)[0].name]


def test_backups_from_a_clock_that_ran_ahead_are_used_last_and_removed_first(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    began = clock.now
    clock.now += 10_000 * DAY_S
    for day in range(KEPT):
        ask(store, f"ahead {day}")
        back_up(path, clock=clock)
        clock.now += DAY_S
    clock.now = began
    for day in range(2):
        ask(store, f"right {day}")
        back_up(path, clock=clock)
        clock.now += DAY_S
    kept = [contents(each)[-1] for each in backups_of(path, now=clock.now)]
    assert kept == ["right 1", "right 0", "ahead 4", "ahead 3", "ahead 2"]


HOLDS_THE_LOCK = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_only_one_of_several_windows_makes_a_backup(
    path: Path, store: ConversationStore, clock: HandClock
) -> None:
    ask(store)
    backup_folder(path).mkdir()
    lock = str(backup_folder(path) / ".lock")
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS_THE_LOCK, lock],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert back_up(path, clock=clock) is None
        assert backups_of(path) == []
        other.communicate()
    back_up(path, clock=clock)
    assert len(backups_of(path)) == 1


def test_a_read_only_folder_gets_no_backup_and_the_log_says_why(
    reachable_path: Path, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(reachable_path, clock=clock)
    ask(store)
    reachable_path.parent.chmod(0o500)
    with without_root(reachable_path.parent):
        assert back_up(reachable_path, clock=clock) is None
    assert "no backup of" in caplog.text
    assert not os.path.lexists(backup_folder(reachable_path))
    store.close()


def test_a_full_disk_gets_no_backup_and_keeps_no_partial_file(
    path: Path,
    store: ConversationStore,
    clock: HandClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask(store)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert back_up(path, clock=clock) is None
    assert names(path) == [".lock"]
    assert "full" in caplog.text
