"""A database as files: its companions, where its name leads to, and folders that keep a new name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

Identity: TypeAlias = tuple[int, int]
"""Device and inode."""


def logs(path: Path) -> list[Path]:
    """Where SQLite keeps what is not in the database itself yet, or is to be undone in it, if anything."""
    return [Path(f"{path}-wal"), Path(f"{path}-journal")]


def companions(path: Path) -> list[Path]:
    """All that SQLite keeps beside the database: its logs, and the shared memory of those who have it open."""
    return [*logs(path), Path(f"{path}-shm")]


def identity_of(path: Path) -> Identity | None:
    """Of the file that the path leads to now; None where there is none.

    Raises:
        OSError: it cannot be seen (a folder on the way may not be entered).
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def sync_folder(folder: Path) -> None:
    """So that a new name survives a power loss as the content does. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
