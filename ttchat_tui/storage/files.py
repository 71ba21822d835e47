"""Files of a database: its companions, its identity, and syncing its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

Identity: TypeAlias = tuple[int, int]
"""Device and inode."""


def logs(path: Path) -> list[Path]:
    """The write-ahead log and the rollback journal. Either may be missing."""
    return [Path(f"{path}-wal"), Path(f"{path}-journal")]


def companions(path: Path) -> list[Path]:
    """All files that SQLite keeps beside the database: the logs and the shared memory."""
    return [*logs(path), Path(f"{path}-shm")]


def identity_of(path: Path) -> Identity | None:
    """The identity of the file at `path`, links followed; None if there is none.

    Raises:
        OSError: no permission to enter a folder of the path.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that a new name in it survives a power loss. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
