"""Recordings of replies: a table of parts that are read only when they are asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ttchat_tui.domain.recording import Recording
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.recording_parts import StoredPart, decoded, joined


class PartialCopy(NamedTuple):
    """The recording of a reply that begins as another one."""

    message_id: int
    """The other one."""
    until: int = sys.maxsize
    """Its parts that end at this token or before are copied."""
    rest: StoredPart | None = None
    """Follows them."""


class Recordings:
    """The recordings of one database. Every method may raise StorageError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, message_id: int, before: int = sys.maxsize) -> Recording:
        """The recording of a reply, of the parts that begin before its token `before`; without tokens if there is none.
        Raises StorageError, kind `database_corrupt`."""
        return self.reader(message_id, before)()

    def reader(self, message_id: int, before: int = sys.maxsize) -> Callable[[], Recording]:
        """Reads the bytes that `of` needs, and returns what decodes them, on any thread: the slow part of a long reply."""
        rows = self._database.rows(
            "SELECT first, data FROM recordings WHERE message_id = ? AND first < ? ORDER BY first",
            message_id,
            before,
        )
        parts = [(row["first"], row["data"]) for row in rows]

        def read() -> Recording:
            known: dict[int, bytes] = {}
            return joined([decoded(*part, known) for part in parts])

        return read

    def end_of(self, message_id: int, until: int = sys.maxsize) -> int:
        """Number of tokens of the reply up to the last recorded one, in parts that end at token `until` or before; 0: nothing
        is recorded."""
        sql = "SELECT max(first + tokens) FROM recordings WHERE message_id = ? AND first + tokens <= ?"
        row = self._database.row(sql, message_id, until)
        return row[0] if row is not None and isinstance(row[0], int) else 0


def write_parts(transaction: Transaction, message_id: int, parts: Sequence[StoredPart]) -> None:
    """Store parts, in order, in the place of all that begin at the first of them or later."""
    if not parts:
        return
    transaction.execute(
        "DELETE FROM recordings WHERE message_id = ? AND first >= ?", (message_id, parts[0].first)
    )
    transaction.executemany(
        "INSERT INTO recordings (message_id, first, tokens, data) VALUES (?, ?, ?, ?)",
        [(message_id, *part) for part in parts],
    )


def copy_recording(transaction: Transaction, source: PartialCopy, target_id: int) -> None:
    """Give the message `target_id` the recording of another one, or its beginning."""
    transaction.execute(
        "INSERT INTO recordings (message_id, first, tokens, data)"
        " SELECT ?, first, tokens, data FROM recordings WHERE message_id = ? AND first + tokens <= ?",
        (target_id, source.message_id, source.until),
    )
    if source.rest is not None:
        write_parts(transaction, target_id, [source.rest])
