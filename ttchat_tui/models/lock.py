"""Advisory file lock: one process at a time writes a model. Waiting for it can be cancelled."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

POLL_S: Final = 0.2


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Generator[None, None, None]:
    """Hold the lock on `path`, a file that is created and never removed: removing it would admit two processes.

    `waiting` is called before each new attempt while another process has the lock; an exception from it ends the wait. The
    kernel releases the lock when its holder dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _try_lock(descriptor):
            waiting()
            time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
