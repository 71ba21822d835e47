"""The stored queue: messages that wait for their turn, each in the queue of one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.rows import text_from, time_from
from ttchat_tui.storage.titles import title_from
from ttchat_tui.storage.writers import has_writer_ended, this_process

THIS: Final = "This queued message"
"""The subject of errors about one that is gone: sent or dropped, perhaps in a window that has taken it over."""

MOST_CANDIDATES: Final = 1_000
"""A damaged row asks for no more."""

_OWN: Final = """
    SELECT q.id, q.conversation_id, q.candidates, q.content, c.title
    FROM queue q JOIN conversations c ON c.id = q.conversation_id
    WHERE q.writer = ? AND c.deleted_at IS NULL ORDER BY q.place, q.id
"""


class StoredQueue:
    """One transaction per call, in which the queue is read again. Every method may raise `StorageError`; then nothing has
    changed."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def messages(self) -> list[QueuedMessage]:
        """This process's queue, first to last, without those of deleted conversations."""
        return list(map(_queued_from, self._database.rows(_OWN, this_process().encoded())))

    def adopt(self) -> list[QueuedMessage]:
        """Take over what processes that have ended left in their queues. Returns this process's queue."""
        now = self._clock()
        with self._database.transaction() as transaction:
            rows = transaction.execute("SELECT id, writer, created_at FROM queue").fetchall()
            ended = [
                row["id"]
                for row in rows
                if has_writer_ended(text_from(row["writer"]), now - time_from(row["created_at"]))
            ]
            transaction.executemany(
                "UPDATE queue SET writer = ? WHERE id = ?",
                [(this_process().encoded(), each) for each in ended],
            )
            return _own(transaction)

    def add(self, conversation_id: int, content: str, candidates: int) -> list[QueuedMessage]:
        """Add a message at the end, and return the queue. On return the message is safe from a power loss. An untitled
        conversation is named after it."""
        now = self._clock()
        with self._database.transaction(is_durable=True) as transaction:
            added = transaction.insert(
                "INSERT INTO queue (place, conversation_id, candidates, created_at, writer, content)"
                " VALUES (0, ?, ?, ?, ?, ?)",
                (conversation_id, candidates, now, this_process().encoded(), content),
            )
            transaction.execute("UPDATE queue SET place = id WHERE id = ?", (added,))
            transaction.change(
                "This conversation",
                "UPDATE conversations SET updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END"
                " WHERE id = ? AND deleted_at IS NULL",
                (now, title_from(content), conversation_id),
            )
            return _own(transaction)

    def edit(self, message: QueuedMessage, content: str) -> list[QueuedMessage]:
        """Returns the queue. Raises StorageError, kind `not_found`."""
        with self._database.transaction(is_durable=True) as transaction:
            transaction.change(THIS, "UPDATE queue SET content = ? WHERE id = ?", (content, message.id))
            _rename_after(transaction, message, title_from(content))
            return _own(transaction)

    def drop(self, message: QueuedMessage) -> list[QueuedMessage]:
        """Delete a message, and return the queue. Raises StorageError, kind `not_found`."""
        with self._database.transaction() as transaction:
            transaction.change(THIS, "DELETE FROM queue WHERE id = ?", (message.id,))
            _rename_after(transaction, message, "")
            return _own(transaction)

    def swap(self, one: QueuedMessage, other: QueuedMessage) -> list[QueuedMessage]:
        """Exchange the places of two messages, and return the queue. Raises StorageError, kind `not_found`."""
        with self._database.transaction() as transaction:
            places = {
                each.id: row["place"]
                for each in (one, other)
                for row in transaction.execute("SELECT place FROM queue WHERE id = ?", (each.id,))
            }
            for each, place in ((one, places.get(other.id)), (other, places.get(one.id))):
                transaction.change(
                    THIS, "UPDATE queue SET place = ifnull(?, place) WHERE id = ?", (place, each.id)
                )
            return _own(transaction)


def _own(transaction: Transaction) -> list[QueuedMessage]:
    return list(map(_queued_from, transaction.execute(_OWN, (this_process().encoded(),))))


def _queued_from(row: sqlite3.Row) -> QueuedMessage:
    return QueuedMessage(
        id=row["id"],
        conversation_id=row["conversation_id"],
        title=text_from(row["title"]),
        content=text_from(row["content"]),
        candidates=_candidates_from(row["candidates"]),
    )


def _candidates_from(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= MOST_CANDIDATES else 1


def _rename_after(transaction: Transaction, message: QueuedMessage, title: str) -> None:
    """A conversation without messages, named after `message`, takes another title."""
    transaction.execute(
        "UPDATE conversations SET title = ? WHERE id = ? AND title = ?"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)",
        (title, message.conversation_id, title_from(message.content)),
    )
