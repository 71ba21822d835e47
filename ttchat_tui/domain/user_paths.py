"""Paths as people write them, in folders that may have gone. Asking is no error, whatever the answer."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~user` resolved; as it is where there is no such user, or no home folder."""
    return Path(os.path.expanduser(path))


def home() -> Path:
    """The user's home folder, which need not exist; `~` as it stands where none is known."""
    return expanded("~")


def current_folder() -> Path:
    """The current folder in full; the empty path, which leads nowhere, when it has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path()
