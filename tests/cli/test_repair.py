"""`repair` as a program: its output and exit code."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.cli.program import run
from tests.storage.examples import answer, ask
from ttchat_tui.config.paths import find_paths
from ttchat_tui.storage.backups import back_up, backup_folder, backups_of
from ttchat_tui.storage.opening import open_store


@pytest.fixture
def database() -> Path:
    """Two conversations of two messages."""
    path = find_paths(os.environ).database
    store = open_store(path)
    for text in ("First?", "Second?"):
        answer(store, ask(store, text))
    store.close()
    return path


def overwrite(path: Path, offset: int, damage: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(damage)


def test_what_was_saved_is_counted_and_the_kept_file_named(database: Path) -> None:
    overwrite(database, 0, bytes(4096))
    listed = run("export", "--list")
    assert "`ttchat-tui repair`" in listed.stderr
    done = run("repair")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"Saved 4 messages in 2 conversations to {database}.\n"
        f"The damaged file is kept as {database}.damaged-1.\n"
    )
    header, *rows = run("export", "--list").stdout.splitlines()
    assert header == "number\tupdated\tmessages\ttitle"
    assert [re.sub(r"\t\d{4}-\d\d-\d\d \d\d:\d\d\t2\t", "\t", row) for row in rows] == [
        "2\tSecond?",
        "1\tFirst?",
    ]


def test_lost_messages_are_counted(database: Path) -> None:
    overwrite(database, database.read_bytes().rindex(b"Second?") - 40, b"\xff" * 40)
    assert run("repair").stdout.startswith("Saved 3 of 4 messages in 2 conversations")


def test_messages_from_a_backup_are_counted(database: Path) -> None:
    back_up(database)
    (backup,) = backups_of(database)
    overwrite(database, 0, bytes(database.stat().st_size))
    assert run("repair").stdout == (
        f"Saved 4 messages in 2 conversations to {database}.\n"
        f"4 of them are from the backup {backup}.\n"
        f"The damaged file is kept as {database}.damaged-1.\n"
    )


def test_paths_names_the_folder_of_the_backups(database: Path) -> None:
    assert str(backup_folder(database)) in run("paths").stdout


def test_sound_conversations_are_not_changed(database: Path) -> None:
    before = database.read_bytes()
    done = run("repair")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"The conversations in {database} are sound; nothing was changed.\n"
    assert database.read_bytes() == before


def test_an_unreadable_file_gets_a_cure_to_start_over(database: Path) -> None:
    overwrite(database, 0, bytes(database.stat().st_size))
    done = run("repair")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"ttchat-tui: No conversation can be read from {database}, and there is no good backup; nothing was changed. "
        f"To start with a new file, move this one away: mv {database} {database}.damaged\n"
    )


def test_a_missing_file_is_reported_with_its_path() -> None:
    done = run("repair")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not exist. `ttchat-tui paths`" in done.stderr
