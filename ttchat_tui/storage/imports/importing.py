"""Import files into a database: read and check everything first, then one transaction."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.imports import ImportProblem, ImportReport
from ttchat_tui.storage.database import Database, open_database
from ttchat_tui.storage.errors import raising_storage_errors
from ttchat_tui.storage.imports.entries import read_entries
from ttchat_tui.storage.imports.files import UnreadableError
from ttchat_tui.storage.imports.formats import read_conversation
from ttchat_tui.storage.imports.imported import EntryError, ImportedConversation
from ttchat_tui.storage.imports.llm_logs import is_database, read_llm_logs
from ttchat_tui.storage.imports.merging import Merge
from ttchat_tui.storage.imports.staging import StagedConversation, StagingFile, staged

_NAMED_PROBLEMS: Final = 100
"""The others are only counted."""


class _DryRun(Exception):
    """Rolls the transaction back."""


def import_files(
    path: Path, files: Sequence[Path], report: ProgressReporter, *, is_dry_run: bool = False
) -> ImportReport:
    """Add the conversations in `files` that are not there yet to the database at `path`, over a connection of its own. What
    cannot be read is skipped and named in the report.

    Args:
        report: takes the progress of reading (in bytes) and of writing (in conversations); may raise to stop the import.
        is_dry_run: only find out what would be done.

    Raises:
        StorageError: nothing was imported: the database cannot be written, or the disk is full.
    """
    problems: list[ImportProblem] = []
    with (
        closing(open_database(path)) as database,
        raising_storage_errors(path),
        # Where there must be room for the same text anyway. It has no name: the kernel removes it with the process.
        tempfile.TemporaryFile(dir=path.parent) as file,
    ):
        staging = StagingFile(file)
        for each in files:
            for found in _conversations(each, report):
                if isinstance(found, ImportProblem):
                    problems.append(found)
                else:
                    staging.add(found)
        merged = _merge(database, staging, report, is_dry_run)
    return msgspec.structs.replace(merged, problems=tuple(problems[:_NAMED_PROBLEMS]), skipped=len(problems))


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


def _merge(
    database: Database, staging: StagingFile, report: Callable[[LoadProgress], None], is_dry_run: bool
) -> ImportReport:
    result = ImportReport()
    try:
        with database.transaction(is_durable=True) as transaction:
            merge = Merge(transaction)
            for done, conversation in enumerate(staging.conversations(), start=1):
                merge.add(conversation)
                report(LoadProgress("store", done, staging.count, "", "conversations"))
            result = merge.report
            if is_dry_run:
                raise _DryRun
    except _DryRun:
        pass
    return result
