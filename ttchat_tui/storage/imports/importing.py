"""Import files into a database, in short transactions while they are read: other windows go on writing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.imports import ImportProblem, ImportReport, ImportStopped
from ttchat_tui.storage.database import Database, open_copy, open_database, open_in_memory
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.imports.entries import read_entries
from ttchat_tui.storage.imports.files import UnreadableError, ignored_in
from ttchat_tui.storage.imports.formats import read_conversation
from ttchat_tui.storage.imports.imported import EntryError, ImportedConversation
from ttchat_tui.storage.imports.llm_logs import is_database, read_llm_logs
from ttchat_tui.storage.imports.merging import KnownConversations, Merge
from ttchat_tui.storage.imports.staging import StagedConversation, staged

_NAMED_PROBLEMS: Final = 100
"""The others are only counted."""

_BATCH_SIZE: Final = 1 << 20
"""Characters: stored in about 30 ms. Reading them takes three times as long, so that every waiting writer gets its turn."""


def import_files(
    path: Path, files: Sequence[Path], report: ProgressReporter, *, is_dry_run: bool = False
) -> ImportReport:
    """Add the conversations in `files` that are not there yet to the database at `path`, over a connection of its own. What
    cannot be read is skipped and named in the report.

    Args:
        report: takes the progress in bytes; may raise ImportStopped.
        is_dry_run: only find out what would be done, in a copy of the database. The file itself is not even created.

    Raises:
        StorageError: the database cannot be written, or the disk is full. What was stored before stays, and is counted in
            the message.
    """
    problems: list[ImportProblem] = []
    notes: list[str] = []
    with closing(_opened(path, is_dry_run)) as database:
        store = _Store(database)
        try:
            for each in files:
                if note := ignored_in(each):
                    notes.append(note)
                for found in _conversations(each, report):
                    if isinstance(found, ImportProblem):
                        problems.append(found)
                    else:
                        store.add(found)
            store.flush()
        except ImportStopped:
            store.report = msgspec.structs.replace(store.report, is_stopped=True)
    return msgspec.structs.replace(
        store.report,
        problems=tuple(problems[:_NAMED_PROBLEMS]),
        skipped=len(problems),
        notes=tuple(notes),
    )


def _opened(path: Path, is_dry_run: bool) -> Database:
    if not is_dry_run:
        return open_database(path)
    return open_copy(path, is_on_disk=True) if os.path.exists(path) else open_in_memory(path)


class _Store:
    """Stores conversations in batches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = KnownConversations(database)
        self._batch: list[StagedConversation] = []
        self._size = 0
        self.report = ImportReport()
        """What is committed."""

    def add(self, conversation: StagedConversation) -> None:
        """Raises StorageError."""
        self._batch.append(conversation)
        self._size += conversation.size
        if self._size >= _BATCH_SIZE:
            self.flush()

    def flush(self) -> None:
        """Raises StorageError."""
        try:
            for is_timed in {each.is_timed for each in self._batch}:
                self._known.follow(is_timed=is_timed)  # most of it before the lock
            with self._database.transaction(is_durable=True) as transaction:
                merge = Merge(transaction, self._known, self.report)
                for each in self._batch:
                    merge.add(each)
        except StorageError as error:
            if not self.report.has_changes:
                raise
            raise StorageError(_interrupted(error.info, self.report)) from error
        self.report = merge.report
        self._batch, self._size = [], 0


def _interrupted(info: ErrorInfo, report: ImportReport) -> ErrorInfo:
    return msgspec.structs.replace(
        info,
        message=f"{info.sentence} Before that: {report}.",
        cure=f"{info.cure} Then import again: what is already here is not added twice.".strip(),
    )


def _conversations(file: Path, report: ProgressReporter) -> Iterator[StagedConversation | ImportProblem]:
    def tell(done: int, total: int, name: str) -> None:
        report(LoadProgress("read", done, total, "bytes", name))

    try:
        if is_database(file):
            changed_at = file.stat().st_mtime
            yield from (_staged(place, read, changed_at) for place, read in read_llm_logs(file, tell))
            return
        for entry in read_entries(file, tell):
            if isinstance(entry, ImportProblem):
                yield entry
            else:
                yield _staged(entry.place, partial(read_conversation, entry), entry.changed_at)
    except UnreadableError as error:
        place = f"{file}, {error.member}" if error.member else str(file)
        yield ImportProblem(place, error.reason, error.cure)


def _staged(
    place: str, read: Callable[[], ImportedConversation], changed_at: float
) -> StagedConversation | ImportProblem:
    try:
        return staged(read(), changed_at)
    except EntryError as error:
        return ImportProblem(place, str(error), error.cure)
