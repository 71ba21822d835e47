"""The backup at the start: after the first frame, and silent except about damage."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.storage.examples import answer, ask
from ttchat_tui.cli.chat import _start_backup
from ttchat_tui.storage.backups import backup_folder, backups_of
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_scratch_store, open_store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "conversations.db"
    store = open_store(path)
    for _ in range(20):
        answer(store, ask(store, "a long question " * 100))
    store.close()
    return path


def backup_thread() -> threading.Thread | None:
    return next((each for each in threading.enumerate() if each.name == "backup"), None)


def start(store: ConversationStore, path: Path) -> None:
    """Start the backup, check that it waits for the screen, and wait for its end."""
    on_screen = threading.Event()
    _start_backup(store, path, on_screen)
    thread = backup_thread()
    assert thread is not None
    assert not backup_folder(path).exists()
    on_screen.set()
    thread.join()


def test_the_backup_waits_for_the_screen_and_reports_nothing(path: Path) -> None:
    store = open_store(path)
    start(store, path)
    assert len(backups_of(path)) == 1
    assert store.pop_file_notice() is None
    store.close()


def test_damage_found_by_the_backup_is_reported_once_and_at_once(path: Path) -> None:
    store = open_store(path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)
    woken = threading.Event()
    store.set_waker(woken.set)
    start(store, path)
    notice = store.pop_file_notice()
    assert notice is not None
    assert notice.kind == "database_corrupt"
    assert woken.is_set(), "an idle screen shows it too"
    assert store.pop_file_notice() is None
    assert backups_of(path) == []
    store.close()


def test_a_scratch_store_is_not_backed_up(path: Path) -> None:
    store = open_scratch_store(path)
    _start_backup(store, path, threading.Event())
    assert backup_thread() is None
    store.close()
