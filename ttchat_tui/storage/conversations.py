"""ConversationStore: everything that is kept of a chat, one transaction a call, on one thread.

Every method may raise `StorageError`; then nothing of the call is stored, and it may be tried again.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

from ttchat_tui.domain.conversation import Conversation, Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage import tree
from ttchat_tui.storage.database import Database, Value
from ttchat_tui.storage.errors import StorageError, not_found
from ttchat_tui.storage.rows import (
    CONVERSATION_COLUMNS,
    conversation_from,
    encoded_ids,
    encoded_sampling,
    encoded_stats,
    storable,
    text_from,
    time_from,
)
from ttchat_tui.storage.titles import title_from
from ttchat_tui.storage.writers import is_gone, this_process

StoreMode: TypeAlias = Literal["read-write", "read-only", "memory"]
"""read-only: what is on disk can be read, what is added lives in memory. memory: nothing on disk can be read."""

KEPT_AFTER_DELETE_S: Final = 30 * 24 * 3600.0
"""How long a deleted conversation can be brought back."""

REPLY_BUSY: Final = ErrorInfo(
    kind="reply_busy",
    message="This reply is being written already.",
    cure="Wait until it ends, or stop it where it runs.",
)

_LISTED: Final = f"""
    SELECT {CONVERSATION_COLUMNS} FROM conversations c
    WHERE deleted_at IS NULL
        AND EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)
        AND (?1 = '' OR instr(folded(title), ?1) > 0)
    ORDER BY updated_at DESC, id DESC LIMIT ?2 OFFSET ?3
"""


class ConversationStore:
    """The conversations of one database. Other processes may use the same file."""

    def __init__(
        self,
        database: Database,
        *,
        mode: StoreMode = "read-write",
        notice: ErrorInfo | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`opening.open_store` makes one. In every mode all methods work; `notice` says what is not kept."""
        self.mode: StoreMode = mode
        self.notice = notice
        self._database = database
        self._clock = clock

    def take_news(self) -> ErrorInfo | None:
        """What has happened to the file since it was opened, once."""
        news, self._database.news = self._database.news, None
        return news

    @property
    def is_log_filled(self) -> bool:
        """A copy of the file alone would lack what was said last."""
        return self._database.is_log_filled

    def merge_log(self) -> None:
        """See `Database.merge_log`: for when nothing else is to be done."""
        self._database.merge_log()

    def close(self) -> None:
        """Idempotent."""
        self._database.close()

    # --- conversations

    def create_conversation(
        self,
        *,
        title: str = "",
        model: str = "",
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
    ) -> Conversation:
        """An empty conversation: it is listed once it has a message."""
        now = self._clock()
        encoded = None if sampling is None else encoded_sampling(sampling)
        values = (now, now, storable(title), model, storable(system_prompt), encoded)
        with self._database.transaction() as transaction:
            added = transaction.execute(
                "INSERT INTO conversations (created_at, updated_at, title, model, system_prompt, sampling)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        return self.conversation(_new_id(added))

    def conversation(self, conversation_id: int) -> Conversation:
        """Raises StorageError, kind `not_found`, also for a deleted one."""
        row = self._database.row(
            f"SELECT {CONVERSATION_COLUMNS} FROM conversations c WHERE id = ? AND deleted_at IS NULL",
            conversation_id,
        )
        if row is None:
            raise not_found("This conversation")
        return conversation_from(row)

    def conversations(self, *, limit: int = 200, offset: int = 0, filter: str = "") -> list[Conversation]:
        """Those with messages, newest first; with `filter`, those whose title contains it in any case."""
        rows = self._database.rows(_LISTED, storable(filter).casefold(), limit, offset)
        return [conversation_from(row, is_listed=True) for row in rows]

    def latest(self) -> Conversation | None:
        """The one that was written to last."""
        return next(iter(self.conversations(limit=1)), None)

    def rename(self, conversation_id: int, title: str) -> None:
        self._set(conversation_id, "title = ?", storable(" ".join(title.split())))

    def delete(self, conversation_id: int) -> None:
        """`undelete` brings it back, for 30 days."""
        self._set(conversation_id, "deleted_at = ?", self._clock())

    def discard(self, conversation_id: int) -> bool:
        """Drop a conversation for good if it has no message; whether it had none."""
        with self._database.transaction() as transaction:
            gone = transaction.execute(
                "DELETE FROM conversations WHERE id = ?"
                " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)",
                (conversation_id,),
            )
            return gone.rowcount > 0

    def undelete(self, conversation_id: int) -> None:
        """Raises StorageError, kind `not_found`, once it is purged. One that is not deleted stays as it is."""
        with self._database.transaction() as transaction:
            changed = transaction.execute(
                "UPDATE conversations SET deleted_at = NULL WHERE id = ?", (conversation_id,)
            )
            _require(changed, "This conversation")

    def last_deleted(self) -> int | None:
        """Of the conversations that can be brought back, the one that was deleted last."""
        row = self._database.row(
            "SELECT id FROM conversations WHERE deleted_at IS NOT NULL ORDER BY deleted_at DESC, id DESC LIMIT 1"
        )
        return None if row is None else row["id"]

    def set_settings(
        self, conversation_id: int, *, system_prompt: str, sampling: SamplingParams | None, model: str
    ) -> None:
        """Raises StorageError, kind `invalid_settings`, for parameters out of range."""
        encoded = None if sampling is None else encoded_sampling(sampling)
        self._set(
            conversation_id,
            "system_prompt = ?, sampling = ?, model = ?",
            storable(system_prompt),
            encoded,
            model,
        )

    def set_head(self, conversation_id: int, message_id: int | None) -> None:
        """Which path is on screen. Raises StorageError, kind `not_found`, for a message of another conversation."""
        if message_id is not None and self.message(message_id).conversation_id != conversation_id:
            raise not_found("This message")
        self._set(conversation_id, "head_id = ?", message_id)

    def set_draft(self, conversation_id: int, text: str) -> None:
        self._set(conversation_id, "draft = ?", storable(text))

    def new_draft(self) -> str:
        """The draft of a conversation that is not created yet."""
        row = self._database.row("SELECT value FROM app_state WHERE key = 'new_draft'")
        return "" if row is None else text_from(row["value"])

    def set_new_draft(self, text: str) -> None:
        with self._database.transaction() as transaction:
            transaction.execute(
                "REPLACE INTO app_state (key, value) VALUES ('new_draft', ?)", (storable(text),)
            )

    def purge_deleted(self) -> None:
        """Drop for good what was deleted 30 days ago or earlier."""
        oldest = self._clock() - KEPT_AFTER_DELETE_S
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM conversations WHERE deleted_at <= ?", (oldest,))

    def _set(self, conversation_id: int, assignments: str, *values: Value) -> None:
        with self._database.transaction() as transaction:
            _update(transaction, conversation_id, assignments, *values)

    # --- messages

    def add_user_message(self, conversation_id: int, parent_id: int | None, content: str) -> Message:
        """Store what the user said and make it the head; it is on disk (power loss included) on return.

        An untitled conversation gets its title from it.
        """
        content = storable(content)
        with self._database.transaction(is_durable=True) as transaction:
            added = transaction.execute(
                "INSERT INTO messages (conversation_id, parent_id, role, content, created_at)"
                " VALUES (?, ?, 'user', ?, ?)",
                (conversation_id, parent_id, content, self._clock()),
            )
            _update(
                transaction,
                conversation_id,
                "head_id = ?, updated_at = ?, title = CASE title WHEN '' THEN ? ELSE title END",
                *(_new_id(added), self._clock(), title_from(content)),
            )
        return self.message(_new_id(added))

    def begin_reply(self, conversation_id: int, parent_id: int, record: ReplyRecord) -> Message:
        """Add an empty reply that this process streams into, and make it the head.

        The conversation takes over the model's name.
        """
        now = self._clock()
        sampling = encoded_sampling(record.sampling)
        values = (conversation_id, parent_id, now, this_process().encoded(), now)
        with self._database.transaction() as transaction:
            added = transaction.execute(
                "INSERT INTO messages (conversation_id, parent_id, created_at, writer, written_at, role, status,"
                " content, model, engine, seed, error, sampling)"
                " VALUES (?, ?, ?, ?, ?, 'assistant', 'streaming', '', ?, ?, ?, '', ?)",
                (*values, record.model, record.engine, record.seed, sampling),
            )
            _update(
                transaction,
                conversation_id,
                "head_id = ?, updated_at = ?, model = ?",
                *(_new_id(added), now, record.model),
            )
        return self.message(_new_id(added))

    def checkpoint(self, message_id: int, content: str, token_ids: tuple[int, ...]) -> None:
        """Keep the reply as far as it has come, without figures: those of an earlier part would be too low by now. One that
        is not streaming any more stays as it is."""
        with self._database.transaction() as transaction:
            transaction.execute(
                "UPDATE messages SET content = ?, token_ids = ?, written_at = ?, stats = NULL"
                " WHERE id = ? AND status = 'streaming'",
                (storable(content), encoded_ids(token_ids), self._clock(), message_id),
            )

    def finish_reply(
        self, message_id: int, content: str, status: MessageStatus, record: ReplyRecord
    ) -> Message:
        """Store the whole of a reply, on disk on return. `status` is not `streaming`."""
        now = self._clock()
        sampling = encoded_sampling(record.sampling)
        with self._database.transaction(is_durable=True) as transaction:
            changed = transaction.execute(
                "UPDATE messages SET content = ?, status = ?, writer = NULL, written_at = ?, model = ?, engine = ?,"
                " seed = ?, finish_reason = ?, error = ?, sampling = ?, stats = ?, token_ids = ?"
                " WHERE id = ? AND role = 'assistant'",
                (
                    *(storable(content), status, now, record.model, record.engine, record.seed),
                    *(record.finish_reason, storable(record.error), sampling, encoded_stats(record.stats)),
                    *(encoded_ids(record.token_ids), message_id),
                ),
            )
            _require(changed, "This reply")
            transaction.execute(
                "UPDATE conversations SET updated_at = ?, model = ?"
                " WHERE id = (SELECT conversation_id FROM messages WHERE id = ?)",
                (now, record.model, message_id),
            )
        return self.message(message_id)

    def resume_reply(self, message_id: int) -> Message:
        """Make a reply that ended a streaming one of this process, to be continued from what it has.

        Raises:
            StorageError: `not_found`; `reply_busy` while another process (or this one) streams into it.
        """
        with self._database.transaction() as transaction:
            changed = transaction.execute(
                "UPDATE messages SET status = 'streaming', writer = ?, written_at = ?, finish_reason = NULL, error = ''"
                " WHERE id = ? AND role = 'assistant' AND status != 'streaming'",
                (this_process().encoded(), self._clock(), message_id),
            )
        message = self.message(message_id)
        if message.role != "assistant":
            raise not_found("This reply")
        if changed.rowcount == 0:
            raise StorageError(REPLY_BUSY)
        return message

    def remove_message(self, message_id: int) -> None:
        """Take out a message that has no children; a head moves to its parent. Of a message that was refused
        nothing stays, not even the title it gave.

        Raises:
            StorageError: `not_found`; `not_a_leaf`.
        """
        with self._database.transaction() as transaction:
            message = self.message(message_id)
            if self.children(message_id, message.conversation_id):
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

    def message(self, message_id: int) -> Message:
        """Raises StorageError, kind `not_found`."""
        return tree.message(self._database, message_id)

    def recent_prompts(self, limit: int = 200) -> list[str]:
        """What the user wrote last, in any conversation that is not deleted, oldest first, repetitions left out."""
        rows = self._database.rows(
            "SELECT content FROM messages m JOIN conversations c ON c.id = m.conversation_id"
            " WHERE m.role = 'user' AND c.deleted_at IS NULL ORDER BY m.id DESC LIMIT ?",
            limit,
        )
        return list(dict.fromkeys(text_from(row["content"]) for row in rows))[::-1]

    def path(self, message_id: int) -> list[Message]:
        """From the first message to this one. Raises StorageError, kind `not_found`."""
        return tree.path(self._database, message_id)

    def shown_path(self, conversation: Conversation) -> list[Message]:
        """The path that is on screen: to the head, or to the newest message where the head is none of its own."""
        if conversation.head_id is not None:
            try:
                path = self.path(conversation.head_id)
            except StorageError as error:
                if error.info.kind != "not_found":
                    raise
            else:
                if path[-1].conversation_id == conversation.id:
                    return path
        messages = self.tree(conversation.id)
        return self.path(messages[-1].id) if messages else []

    def children(self, message_id: int | None, conversation_id: int) -> list[Message]:
        """Oldest first; with None, the conversation's first messages."""
        return tree.children(self._database, message_id, conversation_id)

    def leaf_of(self, message_id: int) -> Message:
        """The newest leaf below this message, or itself. Raises StorageError, kind `not_found`."""
        return tree.leaf_of(self._database, message_id)

    def tree(self, conversation_id: int) -> list[Message]:
        """All messages, parents before children: what an export of everything takes."""
        return tree.tree(self._database, conversation_id)

    def recover(self) -> list[Message]:
        """Mark as interrupted the replies whose writer died, and return them. Those of living processes stay."""
        now = self._clock()
        streaming = "SELECT id, writer, written_at FROM messages WHERE status = 'streaming'"
        with self._database.transaction() as transaction:
            gone = [
                row["id"]
                for row in transaction.execute(streaming).fetchall()
                if is_gone(text_from(row["writer"]), now - time_from(row["written_at"]))
            ]
            transaction.executemany(
                "UPDATE messages SET status = 'interrupted', writer = NULL WHERE id = ?",
                [(message_id,) for message_id in gone],
            )
        return [self.message(message_id) for message_id in gone]


def _update(transaction: sqlite3.Connection, conversation_id: int, assignments: str, *values: Value) -> None:
    changed = transaction.execute(
        f"UPDATE conversations SET {assignments} WHERE id = ? AND deleted_at IS NULL",
        (*values, conversation_id),
    )
    _require(changed, "This conversation")


def _require(changed: sqlite3.Cursor, what: str) -> None:
    if changed.rowcount == 0:
        raise not_found(what)


def _new_id(added: sqlite3.Cursor) -> int:
    assert added.lastrowid is not None
    return added.lastrowid
