"""The stored queue: messages that wait for their turn, each in the queue of one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.database import Database, Transaction, Value
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.presence import ALIVE_AT, beat
from ttchat_tui.storage.rows import text_from, time_from
from ttchat_tui.storage.titles import title_from
from ttchat_tui.storage.writers import has_writer_ended, this_process

GONE: Final = ErrorInfo(
    kind="not_found",
    message="This queued message is no longer in the queue of this window: another window has taken it over, or its "
    "conversation was deleted.",
    cure="A message that was taken over waits there, held.",
)

MOST_CANDIDATES: Final = 1_000
"""A damaged row asks for no more."""

_OWN: Final = """
    SELECT q.id, q.conversation_id, q.candidates, q.content, c.title
    FROM queue q JOIN conversations c ON c.id = q.conversation_id
    WHERE q.writer = ? AND c.deleted_at IS NULL ORDER BY q.place, q.id
"""


class StoredQueue:
    """One transaction per call, in which the queue is read again. Every method may raise `StorageError`; then nothing has
    changed. Only the process in whose queue a message is changes or sends it; for others it is `GONE`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def messages(self) -> list[QueuedMessage]:
        """This process's queue, first to last, without those of deleted conversations."""
        return list(map(_queued_from, self._database.rows(_OWN, this_process().encoded())))

    def elsewhere(self, conversation_id: int) -> int:
        """How many messages of a conversation wait in the queues of other processes."""
        sql = "SELECT count(*) FROM queue WHERE conversation_id = ? AND writer != ?"
        row = self._database.row(sql, conversation_id, this_process().encoded())
        return row[0] if row is not None else 0

    def adopt(self) -> list[QueuedMessage]:
        """Take over what processes that have ended left in their queues. Returns this process's queue. Writes nothing if
        there is nothing to take over."""
        this = this_process().encoded()
        ended = self._ended(this)
        if not ended:
            return self.messages()
        with self._database.transaction() as transaction:
            beat(transaction, self._clock())  # what it takes over is old already
            # With the writer as it was: of several processes that see its end, one takes over.
            transaction.executemany(
                "UPDATE queue SET writer = ? WHERE writer = ?", [(this, each) for each in ended]
            )
            return _own(transaction)

    def _ended(self, this: str) -> list[str]:
        """The processes with a queue that have ended."""
        now = self._clock()
        rows = self._database.rows(
            f"SELECT writer, max(created_at, {ALIVE_AT}) AS written_at FROM queue WHERE writer != ?", this
        )
        silent_s: dict[str, float] = {}
        for row in rows:
            writer, silence = text_from(row["writer"]), now - time_from(row["written_at"])
            silent_s[writer] = min(silence, silent_s.get(writer, silence))
        return [writer for writer, silence in silent_s.items() if has_writer_ended(writer, silence)]

    def leave(self) -> None:
        """Give this process's queue up: the next one that looks takes it over."""
        with self._database.transaction() as transaction:
            transaction.execute("UPDATE queue SET writer = '' WHERE writer = ?", (this_process().encoded(),))

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
            change_own(transaction, "UPDATE queue SET content = ?", content, message_id=message.id)
            _rename_after(transaction, message, title_from(content))
            return _own(transaction)

    def drop(self, message: QueuedMessage) -> list[QueuedMessage]:
        """Delete a message, and return the queue. Raises StorageError, kind `not_found`."""
        with self._database.transaction() as transaction:
            change_own(transaction, "DELETE FROM queue", message_id=message.id)
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
                change_own(
                    transaction, "UPDATE queue SET place = ifnull(?, place)", place, message_id=each.id
                )
            return _own(transaction)


def change_own(transaction: Transaction, sql: str, *values: Value, message_id: int) -> None:
    """Change or delete a message in this process's queue. `sql` has no condition. Raises StorageError: it is `GONE`."""
    conditions = (message_id, this_process().encoded())
    if transaction.execute(f"{sql} WHERE id = ? AND writer = ?", (*values, *conditions)).rowcount == 0:
        raise StorageError(GONE)


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
