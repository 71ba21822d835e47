"""Special files: the app opens regular files only."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_NAMES: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def special_file(path: Path) -> str:
    """`a named pipe` or `a device (by a link to /dev/null)`; empty for a regular file, a folder, or a missing file.

    Does not open the file: opening a pipe waits for a writer, and opening a device may have side effects.
    """
    try:
        name = _NAMES.get(stat.S_IFMT(os.stat(path).st_mode), "")
        return f"{name} (by a link to {os.path.realpath(path)})" if name and path.is_symlink() else name
    except (OSError, ValueError):  # opening it raises the same error
        return ""


def open_regular(path: Path) -> BinaryIO:
    """A file for reading.

    Raises:
        OSError: it cannot be opened, or is a special file.
    """
    if what := special_file(path):
        raise OSError(f"it is {what}")
    return path.open("rb")
