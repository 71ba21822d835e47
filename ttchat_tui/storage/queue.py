"""The stored queue: messages that wait for their turn, each in the queue of one process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.rows import text_from, time_from
from ttchat_tui.storage.titles import title_from
from ttchat_tui.storage.writers import has_writer_ended, this_process

THIS: Final = "This queued message"
"""The subject of errors about one that is gone: sent, dropped, or taken over by another window."""

MOST_CANDIDATES: Final = 1_000
"""A damaged row asks for no more."""

_OWN: Final = """
    SELECT q.id, q.conversation_id, q.candidates, q.content, c.title
    FROM queue q JOIN conversations c ON c.id = q.conversation_id
    WHERE q.writer = ? AND c.deleted_at IS NULL ORDER BY q.place, q.id
"""


class StoredQueue:
    """One transaction per call. Every method may raise `StorageError`; then nothing has changed."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def messages(self) -> list[QueuedMessage]:
        """This process's queue, first to last, without those of deleted conversations."""
        return [
            QueuedMessage(
                id=row["id"],
                conversation_id=row["conversation_id"],
                title=text_from(row["title"]),
                content=text_from(row["content"]),
                candidates=_candidates_from(row["candidates"]),
            )
            for row in self._database.rows(_OWN, this_process().encoded())
        ]

    def adopt(self) -> None:
        """Take over what processes that have ended left in their queues."""
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

    def add(self, conversation_id: int, content: str, candidates: int) -> None:
        """Add a message at the end. On return it is safe from a power loss. An untitled conversation is named after it."""
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

    def edit(self, message: QueuedMessage, content: str) -> None:
        """Raises StorageError, kind `not_found`."""
        with self._database.transaction(is_durable=True) as transaction:
            transaction.change(THIS, "UPDATE queue SET content = ? WHERE id = ?", (content, message.id))
            _rename_after(transaction, message, title_from(content))

    def drop(self, message: QueuedMessage) -> None:
        """Raises StorageError, kind `not_found`."""
        with self._database.transaction() as transaction:
            transaction.change(THIS, "DELETE FROM queue WHERE id = ?", (message.id,))
            _rename_after(transaction, message, "")

    def swap(self, one: QueuedMessage, other: QueuedMessage) -> None:
        """Exchange the places of two messages. Raises StorageError, kind `not_found`."""
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


def _candidates_from(value: object) -> int:
    return value if isinstance(value, int) and 0 < value <= MOST_CANDIDATES else 1


def _rename_after(transaction: Transaction, message: QueuedMessage, title: str) -> None:
    """A conversation without messages, named after `message`, takes another title."""
    transaction.execute(
        "UPDATE conversations SET title = ? WHERE id = ? AND title = ?"
        " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)",
        (title, message.conversation_id, title_from(message.content)),
    )
