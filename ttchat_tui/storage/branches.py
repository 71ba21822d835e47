"""Branches of stored conversations: their outline, names and copies, deletion with undo, replies that a user wrote.

A deleted branch becomes a deleted conversation of its own: it is undone, kept and purged like one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.errors import StorageError, not_found
from ttchat_tui.storage.messages import REPLY_BUSY, deletion_time, update_conversation
from ttchat_tui.storage.recordings import PartialCopy, copy_recording
from ttchat_tui.storage.rows import (
    ROLES,
    STATUSES,
    encoded_ids,
    encoded_sampling,
    readable_sampling,
    text_from,
    time_from,
)

BEGINNING: Final = 400
"""Characters of a message in the outline: a first line, also behind a short thought."""

_OUTLINE: Final = f"""
    SELECT id, parent_id, nullif(role, 'user'), nullif(status, 'complete'), created_at, substr(content, 1, {BEGINNING}),
        model, sampling, is_edited = 1, nullif(branch_name, '')
    FROM messages WHERE conversation_id = ? ORDER BY id
"""

# As in `messages.py`: UNION ends also where a damaged row is its own ancestor.
_VERSIONS: Final = """
    WITH forks AS (
        SELECT parent_id, count(*) AS versions FROM messages WHERE conversation_id = ?1
        GROUP BY parent_id HAVING versions > 1
    )
    SELECT id, versions FROM forks f JOIN messages m ON m.conversation_id = ?1 AND m.parent_id IS f.parent_id
"""

_BELOW: Final = """
    WITH RECURSIVE below (id, conversation_id) AS (
        SELECT id, conversation_id FROM messages WHERE id = ?1
        UNION
        SELECT c.id, c.conversation_id
        FROM below JOIN messages c ON c.conversation_id = below.conversation_id AND c.parent_id = below.id
    )
"""

_STATUSES: Final = f"""
    {_BELOW} SELECT status FROM below JOIN messages USING (id) WHERE below.conversation_id = ?2
"""

_MOVE: Final = f"""
    {_BELOW} UPDATE messages SET conversation_id = ?2,
        parent_id = CASE id WHEN ?1 THEN ?3 ELSE parent_id END
    WHERE id IN (SELECT id FROM below)
"""

_NOTE_MOVED: Final = f"{_BELOW} INSERT INTO changes (message_id) SELECT id FROM below"
"""For the search index, which knows the conversation of each message. No trigger: the schema must fit on the first page."""

_COPIED: Final = (
    "role, created_at, written_at, model, engine, seed, finish_reason, error, sampling, stats, content, token_ids,"
    " is_edited, branch_name, context, summary"
)


class Branches:
    """The branches of every conversation in one database. Every method may raise StorageError; then nothing changes."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def outline(self, conversation_id: int) -> list[OutlineEntry]:
        """All messages in order of creation, parents before children."""
        rows = self._database.rows(_OUTLINE, conversation_id)
        return [
            OutlineEntry(
                message_id,
                parent_id if isinstance(parent_id, int) else None,
                "user" if role is None else role if role in ROLES else "assistant",
                "complete" if status not in STATUSES else status,
                time_from(created_at),
                text_from(beginning),
                text_from(model),
                readable_sampling(sampling) if sampling.__class__ is str else None,
                is_edited == 1,
                text_from(branch_name),
            )
            for message_id, parent_id, role, status, created_at, beginning, model, sampling, is_edited, branch_name in rows
        ]

    def samplings(self, conversation_id: int, parent_id: int) -> list[SamplingParams]:
        """The different parameters of the replies below this message."""
        sql = "SELECT DISTINCT sampling FROM messages WHERE conversation_id = ? AND parent_id = ?"
        found = (
            readable_sampling(row["sampling"]) for row in self._database.rows(sql, conversation_id, parent_id)
        )
        return [sampling for sampling in found if sampling is not None]

    def name(self, message_id: int, name: str) -> None:
        """Name the branch that begins with this message; empty: it has no name."""
        with self._database.transaction() as transaction:
            transaction.change(
                "This message",
                "UPDATE messages SET branch_name = ? WHERE id = ?",
                (" ".join(name.split()), message_id),
            )

    def add_reply(
        self,
        conversation_id: int,
        parent_id: int,
        content: str,
        record: ReplyRecord,
        *,
        is_edited: bool,
        recorded: PartialCopy | None = None,
    ) -> int:
        """Store a complete reply with this text, make it the head, and return its id. `is_edited`: the user wrote it. Its
        figures are left out: they are those of another text. `recorded`: its recording."""
        now = self._clock()
        sampling, ids = encoded_sampling(record.sampling), encoded_ids(record.token_ids)
        with self._database.transaction(is_durable=True) as transaction:
            message_id = transaction.insert(
                "INSERT INTO messages (conversation_id, parent_id, role, status, created_at, written_at, model, engine,"
                " seed, finish_reason, error, sampling, content, token_ids, is_edited)"
                " VALUES (?, ?, 'assistant', 'complete', ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?)",
                (
                    *(conversation_id, parent_id, now, now, record.model, record.engine, record.seed),
                    *(record.finish_reason, sampling, content, ids, is_edited),
                ),
            )
            if recorded is not None:
                copy_recording(transaction, recorded, message_id)
            update_conversation(
                transaction, conversation_id, "head_id = ?, updated_at = ?", *(message_id, now)
            )
        return message_id

    def version_counts(self, conversation_id: int) -> dict[int, int]:
        """The number of versions of each message that has others."""
        return {row["id"]: row["versions"] for row in self._database.rows(_VERSIONS, conversation_id)}

    def copy_path(self, path: list[Message]) -> int:
        """Store a copy of this path, from a first message on, as a conversation of its own with the same settings, and a mark
        before its title: a list has room for little more than its beginning. Returns its id."""
        now, source = self._clock(), path[0].conversation_id
        with self._database.transaction(is_durable=True) as transaction:
            target = transaction.insert(
                "INSERT INTO conversations (created_at, updated_at, title, model, sampling, system_prompt)"
                " SELECT ?, ?, CASE title WHEN '' THEN '' ELSE '↳ ' || ltrim(title, '↳ ') END, model, sampling, system_prompt"
                " FROM conversations WHERE id = ?",
                (now, now, source),
            )
            parent: int | None = None
            for message in path:
                parent = transaction.insert(
                    f"INSERT INTO messages (conversation_id, parent_id, status, {_COPIED}) SELECT ?, ?,"
                    f" CASE status WHEN 'streaming' THEN 'interrupted' ELSE status END, {_COPIED}"
                    " FROM messages WHERE id = ?",
                    (target, parent, message.id),
                )
                copy_recording(transaction, PartialCopy(message.id), parent)
            update_conversation(transaction, target, "head_id = ?", parent)
        return target

    def cut(self, messages: Sequence[Message], head_id: int | None) -> int:
        """Delete messages of one conversation with all that follows them, in every branch, and return their number. For 30
        days `put_back` undoes it for each; `last_deleted` has them together. `head_id`: the end of the path that is on
        screen afterwards.

        Raises:
            StorageError: `reply_busy` while a reply in it is being written; `not_found` if it is no longer there.
        """
        now, count = self._clock(), 0
        with self._database.transaction() as transaction:
            deleted_at = deletion_time(transaction, now)
            for message in messages:
                found = transaction.execute(_STATUSES, (message.id, message.conversation_id))
                statuses = [row["status"] for row in found]
                if not statuses:
                    raise not_found("This message")
                if "streaming" in statuses:
                    raise StorageError(REPLY_BUSY)
                count += len(statuses)
                update_conversation(transaction, message.conversation_id, "head_id = ?", head_id)
                target = transaction.insert(
                    "INSERT INTO conversations (created_at, updated_at, deleted_at, cut_from, cut_below)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (now, now, deleted_at, message.conversation_id, message.parent_id),
                )
                _move(transaction, message.id, target, None)
        return count

    def is_cut(self, conversation_id: int) -> bool:
        """Whether this deleted conversation is a branch that was cut off."""
        sql = "SELECT 1 FROM conversations WHERE id = ? AND cut_from IS NOT NULL"
        return self._database.row(sql, conversation_id) is not None

    def put_back(self, cut_id: int) -> int:
        """Undo `cut`: put the branch back where it was, and return its first message's id. If the message above it is gone,
        it becomes a first message of its conversation."""
        with self._database.transaction() as transaction:
            found = transaction.execute(
                "SELECT c.cut_from, m.id, p.id FROM conversations c"
                " JOIN messages m ON m.conversation_id = c.id AND m.parent_id IS NULL"
                " LEFT JOIN messages p ON p.id = c.cut_below AND p.conversation_id = c.cut_from"
                " WHERE c.id = ?",
                (cut_id,),
            ).fetchone()
            if found is None:
                raise not_found("This branch")
            home, root, parent = found
            transaction.execute("UPDATE conversations SET deleted_at = NULL WHERE id = ?", (home,))
            _move(transaction, root, home, parent)
            transaction.execute("DELETE FROM conversations WHERE id = ?", (cut_id,))
        return root


def _move(transaction: Transaction, root: int, target: int, parent: int | None) -> None:
    """Move a subtree to the conversation `target`, below `parent`, in one statement: the references of its rows hold at its
    end."""
    transaction.execute(_MOVE, (root, target, parent))
    transaction.execute(_NOTE_MOVED, (root,))
