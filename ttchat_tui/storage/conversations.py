"""ConversationStore: conversations, messages and drafts in SQLite, one transaction per call, on one thread.

Every method may raise `StorageError`; then nothing of the call is stored, and it can be repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from ttchat_tui.domain.conversation import Conversation, ListedConversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.storage.branches import Branches
from ttchat_tui.storage.context_marks import ContextMarks
from ttchat_tui.storage.database import Database, Transaction, Value
from ttchat_tui.storage.drafts import StoredDrafts, purge_drafts
from ttchat_tui.storage.errors import not_found
from ttchat_tui.storage.listing import Listing
from ttchat_tui.storage.messages import Messages, deletion_time, update_conversation
from ttchat_tui.storage.presence import SignsOfLife
from ttchat_tui.storage.queue import StoredQueue
from ttchat_tui.storage.recordings import Recordings
from ttchat_tui.storage.rows import CONVERSATION_COLUMNS, conversation_from, encoded_sampling, text_from

StoreMode: TypeAlias = Literal["read-write", "read-only", "memory"]
"""read-only: the file can be read, additions live in memory. memory: nothing is kept on disk."""

KEPT_AFTER_DELETE_S: Final = 30 * 24 * 3600.0
"""How long a deleted conversation can be restored."""

KEPT_CHANGES: Final = 10_000
"""A search index that is further behind is built again."""

_LISTED: Final = f"""
    SELECT {CONVERSATION_COLUMNS} FROM conversations c
    WHERE deleted_at IS NULL
        AND (EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)
            OR ?4 AND EXISTS (SELECT 1 FROM queue WHERE conversation_id = c.id))
        AND (?1 = '' OR instr(folded(title), ?1) > 0)
        {{conditions}}
    ORDER BY updated_at DESC, id DESC LIMIT ?2 OFFSET ?3
"""

_FOLDS: Final = "folds"


class ConversationStore(Messages):
    """The conversations of one database. Other processes may use the same file."""

    def __init__(
        self,
        database: Database,
        *,
        mode: StoreMode = "read-write",
        notice: ErrorInfo | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Use `opening.open_store`. All methods work in every mode; `notice` says what is not kept."""
        super().__init__(database, clock)
        self.queue = StoredQueue(database, clock)
        self.drafts = StoredDrafts(database, clock)
        self.presence = SignsOfLife(database, clock)
        self.branches = Branches(database, clock)
        self.listing = Listing(database)
        self.context = ContextMarks(database)
        self.recordings = Recordings(database)
        self.mode: StoreMode = mode
        self.notice = notice

    @property
    def file(self) -> Path:
        """Where the conversations are now: beside the first file if another has taken its place."""
        return self._database.path

    def pop_file_notice(self) -> ErrorInfo | None:
        """What has happened to the file since it was opened. Returned once."""
        notice, self._database.file_notice = self._database.file_notice, None
        return notice

    def set_file_notice(self, notice: ErrorInfo) -> None:
        """Report damage that a backup has met, at once: the waker is called. Any thread may call it."""
        self._database.file_notice = notice
        self._database.wake()

    @property
    def is_log_filled(self) -> bool:
        """The write-ahead log has commits that are not in the file."""
        return self._database.is_log_filled

    def merge_log(self) -> None:
        """See `Database.merge_log`. Call it when idle."""
        self._database.merge_log()

    def commits_of_others(self) -> int:
        """A number that changes with each commit of another process."""
        row = self._database.row("PRAGMA data_version")
        assert row is not None
        return row[0]

    def set_waker(self, waker: Callable[[], None]) -> None:
        """Call `waker`, on any thread, after every commit and with a new notice: there may be something to do for `tick`."""
        self._database.wake = waker

    def close(self) -> None:
        """Idempotent."""
        self._database.close()

    def create_conversation(
        self,
        *,
        title: str = "",
        model: str = "",
        system_prompt: str = "",
        sampling: SamplingParams | None = None,
    ) -> Conversation:
        """Create an empty conversation. It is listed once it has a message, or one in the queue."""
        now = self._clock()
        encoded = encoded_sampling(sampling)
        values = (now, now, title, model, system_prompt, encoded)
        with self._database.transaction() as transaction:
            conversation_id = transaction.insert(
                "INSERT INTO conversations (created_at, updated_at, title, model, system_prompt, sampling)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        return self.conversation(conversation_id)

    def conversation(self, conversation_id: int) -> Conversation:
        """Raises StorageError, kind `not_found`, also for a deleted one."""
        row = self._database.row(
            f"SELECT {CONVERSATION_COLUMNS} FROM conversations c WHERE id = ? AND deleted_at IS NULL",
            conversation_id,
        )
        if row is None:
            raise not_found("This conversation")
        return conversation_from(row)

    def conversations(
        self, *, limit: int = 200, offset: int = 0, filter: str = "", with_queued: bool = False
    ) -> list[Conversation]:
        """Conversations with messages, newest first; with `filter`, those whose title contains it, ignoring case. With
        `with_queued`, those too that have messages in the queue only."""
        rows = self._database.rows(
            _LISTED.format(conditions=""), filter.casefold(), limit, offset, with_queued
        )
        return [conversation_from(row, is_listed=True) for row in rows]

    def listed(self) -> Sequence[ListedConversation]:
        """All conversations with messages, sent or queued, as the list shows them, newest first, archived ones included. The
        same object as the last time if nothing has changed."""
        return self.listing.read()

    def latest(self) -> Conversation | None:
        """The conversation that was written to last, of those that are not archived."""
        rows = self._database.rows(_LISTED.format(conditions="AND NOT is_archived"), "", 1, 0, False)
        return next((conversation_from(row, is_listed=True) for row in rows), None)

    def rename(self, conversation_id: int, title: str) -> None:
        self._set(conversation_id, "title = ?", " ".join(title.split()))

    def set_pinned(self, conversation_ids: Sequence[int], is_pinned: bool) -> None:
        self._set_all(conversation_ids, "is_pinned = ?", int(is_pinned))

    def set_archived(self, conversation_ids: Sequence[int], is_archived: bool) -> None:
        self._set_all(conversation_ids, "is_archived = ?", int(is_archived))

    def retag(
        self, conversation_ids: Sequence[int], *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> None:
        """Take the tags of `remove` from each conversation, and give it those of `add`."""
        with self._database.transaction() as transaction:
            for each in conversation_ids:
                kept = [tag for tag in self.conversation(each).tags if tag not in remove]
                tags = " ".join(tags_in(" ".join((*kept, *add))))
                update_conversation(transaction, each, "tags = ?", tags)

    def delete(self, *conversation_ids: int) -> None:
        """Hide conversations. `undelete` restores them for 30 days."""
        with self._database.transaction() as transaction:
            now = deletion_time(transaction, self._clock())
            for each in conversation_ids:
                update_conversation(transaction, each, "deleted_at = ?", now)

    def discard(self, conversation_id: int) -> bool:
        """Delete a conversation for good if it has no messages: sent, queued, or in deleted branches. Returns whether it is
        gone."""
        with self._database.transaction() as transaction:
            return self._discard(transaction, conversation_id)

    def _discard(self, transaction: Transaction, conversation_id: int) -> bool:
        transaction.execute(
            "DELETE FROM conversations WHERE id = ?"
            " AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation_id = conversations.id)"
            " AND NOT EXISTS (SELECT 1 FROM queue WHERE conversation_id = conversations.id)"
            " AND NOT EXISTS (SELECT 1 FROM conversations c WHERE c.cut_from = conversations.id)",
            (conversation_id,),
        )
        return self._database.row("SELECT 1 FROM conversations WHERE id = ?", conversation_id) is None

    def withdraw(self, messages: Sequence[Message], head: Message | None, text: str = "") -> str:
        """Remove messages, each before its parent, and show the branch of `head` again. `text`, what the user said in them,
        joins this process's draft. A conversation without any other message is deleted; its draft joins the new one's.

        Returns:
            `text`, with that draft of the new one.

        Raises:
            StorageError: nothing has changed. `not_a_leaf`: others have written below one of them.
        """
        home_id = messages[0].conversation_id
        with self._database.transaction() as transaction:
            for each in messages:
                self._remove(transaction, each.id)
            if head is not None:
                self._check_home(head.id, home_id)
                update_conversation(transaction, home_id, "head_id = ?", head.id)
            is_gone = self._discard(transaction, home_id)
            return self.drafts.give_back(transaction, text, home_id, is_gone=is_gone) if text else ""

    def undelete(self, *conversation_ids: int) -> None:
        """Restore deleted conversations. Raises StorageError, kind `not_found`, once one is purged."""
        with self._database.transaction() as transaction:
            for each in conversation_ids:
                transaction.change(
                    "This conversation",
                    "UPDATE conversations SET deleted_at = NULL WHERE id = ? AND cut_from IS NULL",  # see `Branches.put_back`
                    (each,),
                )

    def last_deleted(self) -> list[int]:
        """The conversations of the most recent deletion that can be restored, the newest first."""
        rows = self._database.rows(
            "SELECT id FROM conversations WHERE deleted_at = (SELECT max(deleted_at) FROM conversations)"
            " ORDER BY updated_at DESC, id DESC"
        )
        return [row["id"] for row in rows]

    def set_sampling(self, conversation_id: int, sampling: SamplingParams | None) -> None:
        """Raises StorageError, kind `invalid_settings`, for parameters out of range."""
        self._set(conversation_id, "sampling = ?", encoded_sampling(sampling))

    def set_system_prompt(self, conversation_id: int, text: str) -> None:
        self._set(conversation_id, "system_prompt = ?", text)

    def set_head(self, conversation_id: int, message_id: int | None) -> None:
        """Set the end of the path on screen. Raises StorageError, kind `not_found`, for a message of another conversation."""
        if message_id is not None:
            self._check_home(message_id, conversation_id)
        self._set(conversation_id, "head_id = ?", message_id)

    def has_message(self, message_id: int) -> bool:
        """False once it is removed for good. A deleted one is kept for a while."""
        return self._database.row("SELECT 1 FROM messages WHERE id = ?", message_id) is not None

    def _check_home(self, message_id: int, conversation_id: int) -> None:
        if self.message(message_id).conversation_id != conversation_id:
            raise not_found("This message")

    def folds(self) -> str:
        """What `set_folds` stored; empty if nothing was."""
        row = self._database.row("SELECT value FROM app_state WHERE key = ?", _FOLDS)
        return "" if row is None else text_from(row["value"])

    def set_folds(self, value: str) -> None:
        """Store where pastes are folded in drafts (`session.folds`); empty: nowhere."""
        with self._database.transaction() as transaction:
            if value:
                transaction.execute("REPLACE INTO app_state (key, value) VALUES (?, ?)", (_FOLDS, value))
            else:
                transaction.execute("DELETE FROM app_state WHERE key = ?", (_FOLDS,))

    def purge_deleted(self) -> None:
        """Delete for good what was deleted 30 days ago or earlier, and all but the newest changes."""
        oldest = self._clock() - KEPT_AFTER_DELETE_S
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM conversations WHERE deleted_at <= ?", (oldest,))
            purge_drafts(transaction)
            transaction.execute(
                "DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?", (KEPT_CHANGES,)
            )

    def _set(self, conversation_id: int, assignments: str, *values: Value) -> None:
        self._set_all([conversation_id], assignments, *values)

    def _set_all(self, conversation_ids: Sequence[int], assignments: str, *values: Value) -> None:
        with self._database.transaction() as transaction:
            for each in conversation_ids:
                update_conversation(transaction, each, assignments, *values)
