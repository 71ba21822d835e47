"""A command in a cure can be pasted into a shell, whatever the folder is called."""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from ttchat_tui.storage.database import require_files
from ttchat_tui.storage.errors import StorageError, to_storage_error
from ttchat_tui.storage.missing_file import not_recreated
from ttchat_tui.storage.repair import repair


def of_the_system(number: int) -> Callable[[Path], object]:
    def fail(path: Path) -> None:
        raise to_storage_error(OSError(number, os.strerror(number)), path)

    return fail


def locked(path: Path) -> None:
    raise to_storage_error(sqlite3.OperationalError("database is locked"), path)


def taken_away(path: Path) -> None:
    raise not_recreated(path, "no room")


def a_folder(path: Path) -> None:
    path.mkdir()
    require_files(path)


def not_to_be_read(path: Path) -> None:
    path.write_bytes(b"no database" * 100)
    repair(path)


@pytest.mark.parametrize(
    "fail",
    [
        *map(of_the_system, (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOENT)),
        *(locked, taken_away, a_folder, not_to_be_read),
    ],
)
def test_a_command_in_a_cure_names_a_path_with_blanks_as_one_word(
    fail: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "Application Support; it's mine" / "conversations.db"
    path.parent.mkdir()
    with pytest.raises(StorageError) as caught:
        fail(path)
    info = caught.value.info
    assert str(path) in info.message
    assert any(shlex.quote(str(named)) in info.cure for named in (path, path.parent))
