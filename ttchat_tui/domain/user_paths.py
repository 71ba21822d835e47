"""Paths as users write them. No function here raises an error."""

from __future__ import annotations

import os
from pathlib import Path


def expanded(path: str | Path) -> Path:
    """`path` with `~` and `~user` expanded; unchanged if there is no such user or home folder."""
    return Path(os.path.expanduser(path))


def is_there(path: str) -> bool:
    """Whether the file or folder exists. Opens nothing."""
    return os.path.exists(expanded(path))


def shortened(path: str) -> str:
    """`path` with `~` in the place of the home folder."""
    folder = os.path.join(home(), "")
    return f"~{os.sep}{path.removeprefix(folder)}" if path.startswith(folder) and len(folder) > 2 else path


def unquoted(typed: str) -> str:
    """`typed` without the quotes around all of it, which a shell would take away."""
    is_quoted = len(typed) > 2 and typed[0] == typed[-1] in "'\""
    return typed[1:-1] if is_quoted else typed


def home() -> Path:
    """The user's home folder, which may not exist; `~` itself if it is unknown."""
    return expanded("~")


def current_folder() -> Path:
    """The absolute path of the current folder; the empty path if the folder has been deleted."""
    try:
        return Path.cwd()
    except OSError:
        return Path()
