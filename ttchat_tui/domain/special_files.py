"""What stands at a path that the app is about to open: it must be a file, or nothing yet."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_NAMES: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def special_file(path: Path) -> str:
    """`a named pipe`, `a device (by a link to /dev/null)`; empty for a file, a folder, and where there is nothing.

    It is asked for, never opened: to open a pipe waits for whoever writes to it, and a device may do anything.
    """
    try:
        name = _NAMES.get(stat.S_IFMT(os.stat(path).st_mode), "")
        return f"{name} (by a link to {os.path.realpath(path)})" if name and path.is_symlink() else name
    except (OSError, ValueError):  # opening it says why
        return ""
