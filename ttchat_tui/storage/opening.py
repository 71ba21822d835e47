"""How a database is opened so that the app always starts: to write, else a copy to read, else nothing but memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_copy, open_database, open_in_memory
from ttchat_tui.storage.errors import StorageError, read_only

NOT_KEPT: Final = "Nothing of this session is kept unless you save its transcript."

_UNREADABLE: Final = frozenset({"database_corrupt", "database_newer", "not_a_file"})
"""A damaged file, or a newer app's, is not guessed at, and what is no file is not opened. Other failures may leave the file
readable."""


def open_store(path: Path, *, clock: Callable[[], float] = time.time) -> ConversationStore:
    """The conversations in `path`, which is created if missing; purged of what was deleted 30 days ago.

    Never raises `StorageError`: when `path` cannot be written, the store works on a copy in memory
    (mode `read-only`), and when it cannot be read either, on nothing (mode `memory`). The file stays untouched, and
    `notice` says why, what to do, and that this session is not kept.
    """
    try:
        store = ConversationStore(open_database(path), clock=clock)
    except StorageError as error:
        return _open_without_writing(path, error, clock)
    try:
        store.purge_deleted()
    except StorageError as error:
        store.notice = error.info  # the next write says the same if it has not passed by then
    return store


def open_scratch_store(
    path: Path | None = None, *, clock: Callable[[], float] = time.time
) -> ConversationStore:
    """A store in memory, for a session that the user asked not to keep: mode `memory`. It begins with a copy of what is
    in `path`, if that is given and there; `notice` says why that cannot be read."""
    empty = Path(":memory:")
    if path is None or not os.path.exists(path):
        return ConversationStore(open_in_memory(empty), mode="memory", clock=clock)
    try:
        return ConversationStore(open_copy(path), mode="memory", clock=clock)
    except StorageError as error:
        return ConversationStore(open_in_memory(empty), mode="memory", notice=error.info, clock=clock)


def _open_without_writing(path: Path, error: StorageError, clock: Callable[[], float]) -> ConversationStore:
    if error.info.kind not in _UNREADABLE and os.path.exists(path):
        try:
            database = open_copy(path)
        except StorageError as reading:
            error = reading if reading.info.kind in _UNREADABLE else error
        else:
            if error.info.kind == "database_unopenable":
                error = read_only(path)
            return ConversationStore(database, mode="read-only", notice=_notice(error.info), clock=clock)
    return ConversationStore(open_in_memory(path), mode="memory", notice=_notice(error.info), clock=clock)


def _notice(info: ErrorInfo) -> ErrorInfo:
    return ErrorInfo(kind=info.kind, message=f"{info.message} {NOT_KEPT}", cure=info.cure)
