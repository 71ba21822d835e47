"""Files that are run as code: written whole, with a digest behind them, and read back only if nobody else had a hand in.

A shared object that was cut short ends the process with SIGBUS when it is mapped, and one that someone else could write
is theirs to choose: both are found out before the loader sees the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

_MARK: Final = b"ttchat-sha256"
_SEAL_BYTES: Final = len(_MARK) + hashlib.sha256().digest_size
_MOST_BYTES: Final = 16 << 20
"""Of a file, a hundred times what a kernel takes: more is not read."""
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OWNER_ONLY: Final = 0o700


class NotOurs(Exception):
    """A file or folder that others may write, or have written; `str()` is a sentence without its full stop."""


def require_private(folder: Path) -> None:
    """Make `folder` if it is not there, for its owner alone.

    Raises:
        NotOurs: it, or a folder that it is in, is someone else's to change.
        OSError: it cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
    real = folder.resolve()
    _require_own(real, real.stat())
    for parent in real.parents:  # Whoever may rename it can put another in its place.
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise NotOurs(f"every user of this machine may write to {parent}")


def fault_of(path: Path) -> str:
    """Why what is at `path` must not be run, as `NotOurs` says it; empty where it is as `seal` left it.

    Raises:
        OSError: it cannot be read, or is not there.
    """
    # Not through a symbolic link, and without waiting for the other end of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return f"{path} is no file"
        try:
            _require_own(path, state)
        except NotOurs as reason:
            return str(reason)
        content = file.read(_MOST_BYTES)
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    return "" if seal == _seal(body) else f"{path} is damaged, or is not what was compiled"


def seal(path: Path) -> None:
    """Put the digest behind what a compiler wrote (loaders do not look there), for its owner alone, and on the disk.

    Raises:
        OSError: it cannot be written, or is a symbolic link.
    """
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb+") as file:
        os.fchmod(file.fileno(), _OWNER_ONLY)  # A linker goes by the umask.
        file.write(_seal(file.read()))
        file.flush()
        os.fsync(file.fileno())


def put(scratch: Path, path: Path) -> None:
    """Give a sealed file its name, in place of whatever has it; both in one folder.

    Raises:
        OSError: what has it is a folder with something in it.
    """
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    os.replace(scratch, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # Some file systems cannot; the digest tells then.
            os.fsync(folder)
    finally:
        os.close(folder)


def _require_own(path: Path, state: os.stat_result) -> None:
    if state.st_uid != os.geteuid():
        raise NotOurs(f"{path} belongs to another user")
    if state.st_mode & _OTHERS_WRITE:
        raise NotOurs(f"other users may write to {path}")


def _seal(body: bytes) -> bytes:
    return _MARK + hashlib.sha256(body).digest()
