"""Integrity of files that are run as code: a digest at their end, and owner and permissions.

Mapping a truncated shared object kills the process with SIGBUS, and one that another user can write may run any code. Both
are detected before the loader opens the file.
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
_MAX_BYTES: Final = 16 << 20
"""Read at most; a kernel has a hundredth of it."""
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OWNER_ONLY: Final = 0o700


class NotPrivate(Exception):
    """A file or folder that belongs to others or that others may write; `str()` is a sentence without its full stop."""


def require_private(folder: Path) -> None:
    """Create `folder`, for its owner only, if it does not exist.

    Raises:
        NotPrivate: other users can change it, or replace a folder that contains it.
        OSError: it cannot be created.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=_OWNER_ONLY)
    real = folder.resolve()
    _require_own(real, real.stat())
    for parent in real.parents:  # Who can rename it can replace it.
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise NotPrivate(f"every user of this machine may write to {parent}")


def fault_of(path: Path) -> str:
    """Why the file at `path` must not be run, worded like `NotPrivate`; empty if it is unchanged since `seal`.

    Raises:
        OSError: it cannot be read, or does not exist.
    """
    # Do not follow a symbolic link, and do not wait for the other end of a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            return f"{path} is not a regular file"
        try:
            _require_own(path, state)
        except NotPrivate as reason:
            return str(reason)
        content = file.read(_MAX_BYTES)
    body, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    return "" if seal == _seal(body) else f"{path} is damaged or was replaced"


def seal(path: Path) -> None:
    """Append the digest to a compiled file (loaders ignore it), make the file its owner's only, and flush it to the disk.

    Raises:
        OSError: it cannot be written, or is a symbolic link.
    """
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW), "rb+") as file:
        os.fchmod(file.fileno(), _OWNER_ONLY)  # The linker applies the umask.
        file.write(_seal(file.read()))
        file.flush()
        os.fsync(file.fileno())


def install(scratch: Path, path: Path) -> None:
    """Rename a sealed file to `path`, in the same folder, and replace what is there.

    Raises:
        OSError: `path` is a folder that is not empty.
    """
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    os.replace(scratch, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # Some file systems cannot; the digest then detects a loss.
            os.fsync(folder)
    finally:
        os.close(folder)


def _require_own(path: Path, state: os.stat_result) -> None:
    if state.st_uid != os.geteuid():
        raise NotPrivate(f"{path} belongs to another user")
    if state.st_mode & _OTHERS_WRITE:
        raise NotPrivate(f"other users may write to {path}")


def _seal(body: bytes) -> bytes:
    return _MARK + hashlib.sha256(body).digest()
