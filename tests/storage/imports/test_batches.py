"""An import stores what it reads in short transactions: others write meanwhile, and a stopped one can be repeated."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.imports.conversations import exported, run
from tests.storage.imports.foreign import BEGAN, Turn, chatgpt, messages, write_json
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.imports import ImportStopped
from ttchat_tui.storage import database as database_module
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.imports import importing
from ttchat_tui.storage.imports.importing import import_files


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each is a batch of its own; the third is the second again, and the last has no times."""
    monkeypatch.setattr(importing, "_BATCH_SIZE", 1)
    made = [{**chatgpt(Turn(f"Q{n}", Turn("A"))), "create_time": BEGAN + n} for n in (0, 1, 1, 2)]
    made.append(messages(Turn("Q4", Turn("A"))))
    return [write_json(each, tmp_path / f"{n}.json") for n, each in enumerate(made)]


def at_file(name: str, act: Callable[[], None]) -> Callable[[LoadProgress], None]:
    """Acts once, while that file is read."""
    left = [act]

    def report(progress: LoadProgress) -> None:
        if progress.detail == name and left:
            left.pop()()

    return report


def stop() -> None:
    raise ImportStopped


def questions(database: Path) -> list[str]:
    return sorted(each.messages[0].content for each in exported(database))


@pytest.mark.parametrize(("name", "stored"), [("0.json", 0), ("1.json", 1), ("3.json", 2), ("4.json", 3)])
def test_a_stopped_import_says_so_and_is_completed_by_another(
    files: list[Path], tmp_path: Path, name: str, stored: int
) -> None:
    database = tmp_path / "store.db"
    first = import_files(database, files, at_file(name, stop))
    assert (first.is_stopped, first.added, len(questions(database))) == (True, stored, stored)
    assert str(first).startswith("stopped before the end: ")
    again = run(database, *files)
    assert (again.is_stopped, again.added + first.added) == (False, 4)
    assert questions(database) == ["Q0", "Q1", "Q2", "Q4"]


def test_another_window_can_write_at_every_report(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "store.db"
    run(database, files[0])
    written = 0

    def write(progress: LoadProgress) -> None:
        nonlocal written
        with closing(sqlite3.connect(database, timeout=0)) as connection, connection:
            written += connection.execute("UPDATE conversations SET draft = 'typed'").rowcount

    assert import_files(database, files, write).added == 3
    assert written >= len(files)


def test_two_imports_of_the_same_files_at_once_make_no_doubles(files: list[Path], tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    first = import_files(database, files, at_file("3.json", lambda: void(run(database, *files))))
    assert (first.added, first.unchanged) == (2, 3)
    assert questions(database) == ["Q0", "Q1", "Q2", "Q4"]


def void(value: object) -> None:
    """A call in the place of a statement."""


def test_a_dry_run_agrees_takes_no_lock_and_creates_nothing(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    database = folder / "store.db"
    dry = run(database, *files, is_dry_run=True)
    assert not folder.exists()
    assert run(database, *files[:2]).added == 2
    left = run(database, *files, is_dry_run=True)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert run(database, *files, is_dry_run=True) == left
        other.execute("ROLLBACK")
    before = database.read_bytes()
    assert run(database, *files, is_dry_run=True) == left
    assert database.read_bytes() == before
    assert run(database, *files) == left
    assert (dry.added, left.added, left.unchanged) == (4, 2, 3)


def test_an_import_that_fails_midway_counts_what_it_stored(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_MS", 1)
    database = tmp_path / "store.db"
    run(database, files[0])
    with closing(sqlite3.connect(database)) as other:
        lock = at_file("3.json", lambda: void(other.execute("BEGIN IMMEDIATE")))
        with pytest.raises(StorageError) as caught:
            import_files(database, files, lock)
    assert "locked by another program. Before that: 1 conversation added, 2 already here" in str(caught.value)
    assert "import again" in caught.value.info.cure
