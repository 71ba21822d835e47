"""Messages: reading and writing the message trees of a database, one transaction per call."""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import msgspec

from ttchat_tui.domain.conversation import Conversation, Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.storage.database import Database, Transaction, Value
from ttchat_tui.storage.errors import StorageError, not_found
from ttchat_tui.storage.message_path import MessagePath
from ttchat_tui.storage.presence import ALIVE_AT, note_interrupted
from ttchat_tui.storage.queue import change_own
from ttchat_tui.storage.recording_parts import StoredPart
from ttchat_tui.storage.recordings import write_parts
from ttchat_tui.storage.rows import (
    MESSAGE_COLUMNS,
    encoded_ids,
    encoded_sampling,
    encoded_stats,
    message_from,
    text_from,
    time_from,
)
from ttchat_tui.storage.titles import title_from
from ttchat_tui.storage.writers import has_writer_ended, this_process

REPLY_BUSY: Final = ErrorInfo(
    kind="reply_busy",
    message="This reply is being written already.",
    cure="Wait until it ends, or stop it where it runs.",
)

_APART: Final = 1e-3
"""Seconds between two deletions."""

_ONE: Final = f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.id = ?"

_CHILDREN: Final = f"""
    SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? AND m.parent_id IS ? ORDER BY m.id
"""

_THESE: Final = f"""
    SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.id IN (SELECT value FROM json_each(?))
"""

# As two lists: 10,000 rows of two numbers take 4 ms to fetch, this 1 ms.
_SHAPE: Final = """
    SELECT json_group_array(id), json_group_array(CAST(parent_id AS INTEGER)) FROM messages
    WHERE conversation_id = (SELECT conversation_id FROM messages WHERE id = ?)
"""
_NEWEST: Final = "SELECT max(id) FROM messages WHERE conversation_id = ?"

# The newest message of a subtree cannot have a child, which would be newer: it is the newest leaf.
_LEAF: Final = """
    WITH RECURSIVE below (id, conversation_id) AS (
        SELECT id, conversation_id FROM messages WHERE id = ?
        UNION
        SELECT c.id, c.conversation_id
        FROM below JOIN messages c ON c.conversation_id = below.conversation_id AND c.parent_id = below.id
    )
    SELECT max(id) FROM below
"""

# NULL: of every conversation that is not deleted.
_RECENT: Final = f"""
    SELECT {MESSAGE_COLUMNS} FROM messages m JOIN conversations c ON c.id = m.conversation_id
    WHERE m.role = 'assistant' AND m.stats IS NOT NULL AND c.deleted_at IS NULL
    AND (?1 IS NULL OR m.conversation_id = ?1) ORDER BY m.id DESC LIMIT ?2
"""

_TREE: Final = f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? ORDER BY m.id"


class Messages:
    """The messages of every conversation in one database. Other processes may use the same file."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # --- reading

    def message(self, message_id: int) -> Message:
        """Raises StorageError, kind `not_found`."""
        row = self._database.row(_ONE, message_id)
        if row is None:
            raise _missing()
        return message_from(row)

    def messages(self, ids: Sequence[int]) -> list[Message]:
        """Those of these messages that are there, in any order."""
        wanted = json.dumps(list(ids))
        return [message_from(row) for row in self._database.rows(_THESE, wanted)]

    def recent_replies(self, conversation_id: int | None, most: int) -> list[Message]:
        """The latest replies that have figures, the newest first, of one conversation or of all (None). Raises StorageError."""
        return [message_from(row) for row in self._database.rows(_RECENT, conversation_id, most)]

    def path(self, message_id: int) -> MessagePath:
        """From the first message to this one, both included. Raises StorageError, kind `not_found`."""
        return MessagePath(self.messages, _path_to(message_id, self._shape(message_id)))

    def newest_ids(self, message: Message) -> list[int]:
        """The ids of the path to this message and on to its newest leaf. Raises StorageError, kind `not_found`."""
        parents = self._shape(message.id)
        below, leaf = {message.id}, message.id
        newer = sorted(parents)
        for each in newer[bisect_right(newer, message.id) :]:  # parents are older than their children
            if parents[each] in below:
                below.add(each)
                leaf = each
        return _path_to(leaf, parents)

    def _shape(self, message_id: int) -> dict[int, int | None]:
        """The parent of each message of the tree that has this one, by id: 2 ms for 10,000. Raises StorageError, kind
        `not_found`."""
        row = self._database.row(_SHAPE, message_id)
        assert row is not None
        ids, parents = (msgspec.json.decode(each, type=decodable(list[int | None])) for each in row)
        if not ids:
            raise _missing()
        return dict(zip(cast("list[int]", ids), parents, strict=True))

    def no_path(self) -> MessagePath:
        """The path of a conversation without messages."""
        return MessagePath(self.messages)

    def shown_path(self, conversation: Conversation) -> MessagePath:
        """The path on screen: to the head, or to the newest message if the head is not in this conversation."""
        if conversation.head_id is not None:
            try:
                path = self.path(conversation.head_id)
            except StorageError as error:
                if error.info.kind != "not_found":
                    raise
            else:
                if path[-1].conversation_id == conversation.id:
                    return path
        newest = self._database.row(_NEWEST, conversation.id)
        assert newest is not None
        return self.path(newest[0]) if newest[0] is not None else self.no_path()

    def children(self, message_id: int | None, conversation_id: int) -> list[Message]:
        """Oldest first; with None, the conversation's first messages."""
        return [message_from(row) for row in self._database.rows(_CHILDREN, conversation_id, message_id)]

    def leaf_of(self, message_id: int) -> Message:
        """The newest leaf below this message, or itself. Raises StorageError, kind `not_found`."""
        row = self._database.row(_LEAF, message_id)
        if row is None or row[0] is None:
            raise _missing()
        return self.message(row[0])

    def tree(self, conversation_id: int) -> list[Message]:
        """All messages in order of creation, parents before children."""
        return [message_from(row) for row in self._database.rows(_TREE, conversation_id)]

    def recent_prompts(self, limit: int = 200) -> list[str]:
        """The user's latest messages in all conversations that are not deleted, oldest first, without repetitions."""
        rows = self._database.rows(
            "SELECT content, m.created_at FROM messages m JOIN conversations c ON c.id = m.conversation_id"
            " WHERE m.role = 'user' AND c.deleted_at IS NULL ORDER BY m.id DESC LIMIT ?",
            limit,
        )
        rows.sort(key=lambda row: -time_from(row["created_at"]))  # a copied branch has new ids and old times
        return list(dict.fromkeys(text_from(row["content"]) for row in rows))[::-1]

    # --- writing

    def add_user_message(
        self, conversation_id: int, parent_id: int | None, content: str, *, queued_id: int | None = None
    ) -> Message:
        """Store a user message and make it the head. On return it is safe from a power loss.

        An untitled conversation gets its title from it; an archived one returns to the list. With `queued_id` the message leaves
        this process's queue in the same transaction, so that it is never sent twice.

        Raises:
            StorageError: `not_found`: the conversation is deleted, or the message is no longer in this process's queue.
        """
        now = self._clock()
        with self._database.transaction(is_durable=True) as transaction:
            if queued_id is not None:
                change_own(transaction, "DELETE FROM queue", message_id=queued_id)
            message_id = transaction.insert(
                "INSERT INTO messages (conversation_id, parent_id, role, content, created_at)"
                " VALUES (?, ?, 'user', ?, ?)",
                (conversation_id, parent_id, content, now),
            )
            update_conversation(
                transaction,
                conversation_id,
                "head_id = ?, updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END, is_archived = 0",
                *(message_id, now, title_from(content)),
            )
        return self.message(message_id)

    def begin_reply(
        self, conversation_id: int, parent_id: int, record: ReplyRecord, place: str = ""
    ) -> Message:
        """Add an empty reply that this process streams into, and make it the head.

        The conversation records where its model is: `place`, an argument of `--model`, or the name in the record.
        """
        now = self._clock()
        sampling = encoded_sampling(record.sampling)
        values = (conversation_id, parent_id, now, this_process().encoded(), now)
        with self._database.transaction() as transaction:
            message_id = transaction.insert(
                "INSERT INTO messages (conversation_id, parent_id, created_at, writer, written_at, role, status,"
                " content, model, engine, seed, error, sampling)"
                " VALUES (?, ?, ?, ?, ?, 'assistant', 'streaming', '', ?, ?, ?, '', ?)",
                (*values, record.model, record.engine, record.seed, sampling),
            )
            update_conversation(
                transaction,
                conversation_id,
                "head_id = ?, updated_at = ?, model = ?",
                *(message_id, now, place or record.model),
            )
        return self.message(message_id)

    def checkpoint(
        self,
        message_id: int,
        content: str,
        token_ids: tuple[int, ...],
        recorded: Sequence[StoredPart] = (),
    ) -> None:
        """Store the reply so far and what was recorded of it, without statistics: those of an earlier part are outdated.

        A reply that is no longer streaming is not changed.
        """
        with self._database.transaction() as transaction:
            updated = transaction.execute(
                "UPDATE messages SET content = ?, token_ids = ?, written_at = ?, stats = NULL"
                " WHERE id = ? AND status = 'streaming'",
                (content, encoded_ids(token_ids), self._clock(), message_id),
            )
            if updated.rowcount:
                write_parts(transaction, message_id, recorded)

    def finish_reply(
        self,
        message_id: int,
        content: str,
        status: MessageStatus,
        record: ReplyRecord,
        recorded: Sequence[StoredPart] = (),
    ) -> Message:
        """Store a complete reply, and what was recorded of it since the last checkpoint. On return it is safe from a power loss. `status` is not `streaming`."""
        now = self._clock()
        sampling = encoded_sampling(record.sampling)
        with self._database.transaction(is_durable=True) as transaction:
            transaction.change(
                "This reply",
                "UPDATE messages SET content = ?, status = ?, writer = NULL, written_at = ?, model = ?, engine = ?,"
                " seed = ?, finish_reason = ?, error = ?, sampling = ?, stats = ?, token_ids = ?"
                " WHERE id = ? AND role = 'assistant'",
                (
                    *(content, status, now, record.model, record.engine, record.seed),
                    *(record.finish_reason, record.error, sampling, encoded_stats(record.stats)),
                    *(encoded_ids(record.token_ids), message_id),
                ),
            )
            transaction.execute(
                "UPDATE conversations SET updated_at = ?,"
                " model = CASE WHEN substr(rtrim(model, '/'), -length(?) - 1) = '/' || ? THEN model ELSE ? END"
                " WHERE id = (SELECT conversation_id FROM messages WHERE id = ?)",
                (now, *(record.model,) * 3, message_id),
            )
            write_parts(transaction, message_id, recorded)
        return self.message(message_id)

    def complete_stats(self, message: Message) -> None:
        """Store the figures of an ended reply again, with what was not known at its end. A reply that was continued since keeps
        its own."""
        stats = message.reply.stats if message.reply else None
        with self._database.transaction() as transaction:
            transaction.execute(
                "UPDATE messages SET stats = ? WHERE id = ? AND stats IS NOT NULL AND content = ?",
                (encoded_stats(stats), message.id, message.content),
            )

    def resume_reply(self, message_id: int) -> Message:
        """Mark an ended reply as streaming in this process, to continue it.

        Raises:
            StorageError: `not_found`, also for a deleted one; `reply_busy` while another process (or this one) streams
                into it.
        """
        now = self._clock()
        with self._database.transaction() as transaction:
            message = self.message(message_id)
            if message.role != "assistant":
                raise not_found("This reply")
            if message.status == "streaming":
                raise StorageError(REPLY_BUSY)
            update_conversation(transaction, message.conversation_id, "updated_at = ?", now)
            transaction.execute(
                "UPDATE messages SET status = 'streaming', writer = ?, written_at = ?, finish_reason = NULL, error = ''"
                " WHERE id = ?",
                (this_process().encoded(), now, message_id),
            )
        return self.message(message_id)

    def remove_message(self, message_id: int) -> None:
        """Delete a message that has no children; a head on it moves to its parent. If that leaves the conversation empty, the
        title that came from the message goes too.

        Raises:
            StorageError: `not_found`; `not_a_leaf`.
        """
        with self._database.transaction() as transaction:
            self._remove(transaction, message_id)

    def _remove(self, transaction: Transaction, message_id: int) -> None:
        if self.children(message_id, (message := self.message(message_id)).conversation_id):
            raise StorageError(ErrorInfo(kind="not_a_leaf", message="Other messages follow this one."))
        transaction.execute(
            "UPDATE conversations SET head_id = ? WHERE head_id = ?", (message.parent_id, message_id)
        )
        transaction.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        transaction.execute(
            "UPDATE conversations SET title = '' WHERE id = ? AND title = ?"
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)",
            (message.conversation_id, title_from(message.content)),
        )

    def recover(self) -> list[Message]:
        """Mark replies whose process has ended as interrupted. Returns those that this call has marked: of several windows that
        look, one gets each. `SignsOfLife.take_interrupted` has them until a screen has reported them."""
        marked = list[int]()
        if ended := self._ended_replies():
            with self._database.transaction() as transaction:
                for message_id, writer in ended:
                    updated = transaction.execute(
                        "UPDATE messages SET status = 'interrupted', writer = NULL WHERE id = ? AND writer IS ?",
                        (message_id, writer),
                    )
                    if updated.rowcount:
                        marked.append(message_id)
                        note_interrupted(transaction, message_id)
        return [self.message(message_id) for message_id in marked]

    def _ended_replies(self) -> list[tuple[int, Value]]:
        """The replies whose process has ended while it wrote them, each with that process."""
        now = self._clock()
        sql = f"SELECT id, writer, max(written_at, {ALIVE_AT}) AS written_at FROM messages WHERE status = 'streaming'"
        return [
            (row["id"], row["writer"])
            for row in self._database.rows(sql)
            if has_writer_ended(text_from(row["writer"]), now - time_from(row["written_at"]))
        ]

    def answered_by_others(self) -> set[int]:
        """The conversations in which other processes write replies."""
        sql = "SELECT conversation_id FROM messages WHERE status = 'streaming' AND writer != ?"
        return {row[0] for row in self._database.rows(sql, this_process().encoded())}


def update_conversation(
    transaction: Transaction, conversation_id: int, assignments: str, *values: Value
) -> None:
    """Raises StorageError, kind `not_found`, also for a deleted one."""
    transaction.change(
        "This conversation",
        f"UPDATE conversations SET {assignments} WHERE id = ? AND deleted_at IS NULL",
        (*values, conversation_id),
    )


def deletion_time(transaction: Transaction, now: float) -> float:
    """The time of a deletion: `now`, but later than every other, so that each is undone on its own and the last one first,
    also when the clock stands still or was set back."""
    (last,) = transaction.execute("SELECT max(deleted_at) FROM conversations").fetchone()
    return max(now, time_from(last) + _APART)


def _missing() -> StorageError:
    return not_found("This message")


def _path_to(message_id: int, parents: Mapping[int, int | None]) -> list[int]:
    """The ids from the first message to this one. Parents are older than their children: order by id is order from the
    root."""
    path: set[int] = set()  # a damaged row that is its own ancestor must not make an endless path
    at: int | None = message_id
    while at is not None and at in parents and at not in path:
        path.add(at)
        at = parents[at]
    return sorted(path)
