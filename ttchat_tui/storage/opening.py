"""Opening the database so that the app always starts: read-write, else a copy in memory, else an empty one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_copy, open_database, open_in_memory
from ttchat_tui.storage.errors import StorageError, read_only

NOT_KEPT: Final = "Nothing of this session is kept unless you save its transcript."

_UNREADABLE: Final = frozenset({"database_corrupt", "database_newer", "not_a_file"})
"""Not even read: a damaged file, one of a newer app, and what is not a regular file. After other failures the file may
be readable."""


def open_store(path: Path, *, clock: Callable[[], float] = time.time) -> ConversationStore:
    """Open the conversations in `path`, which is created if missing, and purge what was deleted 30 days ago.

    Never raises `StorageError`. If `path` cannot be written, the store works on a copy in memory (mode `read-only`); if it
    cannot be read either, on an empty database in memory (mode `memory`). Then the file is not changed, and `notice` has
    the reason, a cure, and the remark that this session is not kept.
    """
    try:
        store = ConversationStore(open_database(path), clock=clock)
    except StorageError as error:
        return _open_without_writing(path, error, clock)
    try:
        store.purge_deleted()
    except StorageError as error:
        store.notice = error.info  # the next write raises the same if it still fails
    return store


def open_scratch_store(
    path: Path | None = None, *, clock: Callable[[], float] = time.time
) -> ConversationStore:
    """A store in memory (mode `memory`) for a session that is not kept. It starts with a copy of `path`, if given and
    present; `notice` says why that cannot be read."""
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


def about_the_file(notice: ErrorInfo) -> ErrorInfo:
    """A store's `notice` without the sentence about the session, for a command that has none."""
    return msgspec.structs.replace(notice, message=notice.message.removesuffix(f" {NOT_KEPT}"))


def _notice(info: ErrorInfo) -> ErrorInfo:
    return msgspec.structs.replace(info, message=f"{info.sentence} {NOT_KEPT}")
