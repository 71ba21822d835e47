"""Staged conversations into the database. What is already there is recognised, so that importing twice makes no doubles.

A conversation is known by the time it was created at and a first message that is the same; one from a format without times
by its text alone, and only if all of its messages are there. Of a known conversation only the messages that are missing are
added, each below its parent: a later export brings what was said since, and what was said here stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.imports.staging import NO_PARENT, StagedConversation, StagedMessage
from ttchat_tui.storage.recordings import write_parts
from ttchat_tui.storage.rows import text_from

_INSERT_MESSAGE = (
    "INSERT INTO messages (conversation_id, parent_id, role, content, status, created_at, is_edited, branch_name, context,"
    " summary, model, engine, seed, finish_reason, error, sampling, stats, token_ids)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class KnownConversations:
    """The ids of the stored conversations, by what they may be recognised by."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_time: dict[float, list[int]] = defaultdict(list)
        self._by_first: dict[int, list[int]] = defaultdict(list)
        """By the hash of a first message: equal ones are compared before they count."""
        self._last_id = self._last_first_id = 0

    def follow(self, *, is_timed: bool) -> None:
        """Note those that came since the last call, from whatever process: for one with times, or by its text. An id is
        never used twice."""
        if is_timed:
            self._follow_times()
        else:
            self._follow_texts()

    def _follow_times(self) -> None:
        while rows := self._database.rows(
            "SELECT id, created_at FROM conversations WHERE id > ? AND cut_from IS NULL ORDER BY id LIMIT 1000",
            self._last_id,
        ):
            for row in rows:
                self._by_time[row["created_at"]].append(row["id"])
            self._last_id = rows[-1]["id"]

    def _follow_texts(self) -> None:
        while rows := self._database.rows(
            "SELECT id, conversation_id, role, content FROM messages"
            " WHERE id > ? AND parent_id IS NULL"
            # Deleted branches are part of another conversation.
            " AND conversation_id NOT IN (SELECT id FROM conversations WHERE cut_from IS NOT NULL)"
            " ORDER BY id LIMIT 1000",
            self._last_first_id,
        ):
            for row in rows:
                key = hash((row["role"], text_from(row["content"])))
                self._by_first[key].append(row["conversation_id"])
            self._last_first_id = rows[-1]["id"]

    def candidates(self, conversation: StagedConversation) -> Sequence[int]:
        """Conversations that may be the same one."""
        if conversation.is_timed:
            return self._by_time.get(conversation.created_at, ())
        first = conversation.messages[0]
        return self._by_first.get(hash((first.role, first.content)), ())


class Merge:
    """Some conversations, inside one transaction."""

    def __init__(self, transaction: Transaction, known: KnownConversations, report: ImportReport) -> None:
        """`report`: the counts so far."""
        self._transaction = transaction
        self._known = known
        self.report = report

    def add(self, conversation: StagedConversation) -> None:
        if not conversation.messages:
            self._count(empty=1)
            return
        self._known.follow(is_timed=conversation.is_timed)
        for known_id in self._known.candidates(conversation):
            places = self._places(known_id, conversation)
            found = sum(place is not None for place in places)
            if found if conversation.is_timed else found == len(places):
                self._extend(known_id, conversation, places)
                return
        self._create(conversation)

    def _places(self, known_id: int, conversation: StagedConversation) -> list[int | None]:
        """The stored id of each message, None for those that are not there. Of equal siblings each is taken once."""
        stored: dict[tuple[int | None, str, str], list[int]] = defaultdict(list)
        for row in self._transaction.execute(
            "SELECT id, parent_id, role, content FROM messages WHERE conversation_id = ? ORDER BY id DESC",
            (known_id,),
        ):
            stored[row["parent_id"], row["role"], text_from(row["content"])].append(row["id"])
        places: list[int | None] = []
        for message in conversation.messages:
            parent = None if message.parent == NO_PARENT else places[message.parent]
            is_below_new = message.parent != NO_PARENT and parent is None
            same = [] if is_below_new else stored[parent, message.role, message.content]
            places.append(same.pop() if same else None)
        return places

    def _extend(self, known_id: int, conversation: StagedConversation, places: list[int | None]) -> None:
        is_deleted = self._transaction.execute(
            "UPDATE conversations SET deleted_at = NULL WHERE id = ? AND deleted_at IS NOT NULL", (known_id,)
        ).rowcount
        added = self._insert(known_id, conversation.messages, places)
        if added:
            self._transaction.execute(
                "UPDATE conversations SET updated_at = max(updated_at, ?) WHERE id = ?",
                (conversation.updated_at, known_id),
            )
            self._move_head(known_id, conversation, places)
        self._count(restored=is_deleted, messages=added, extended=not is_deleted and added > 0)
        self._count(unchanged=not is_deleted and not added)

    def _move_head(
        self, known_id: int, conversation: StagedConversation, places: Sequence[int | None]
    ) -> None:
        """Show what was said after the last message on screen, but no other branch."""
        head = self._transaction.execute(
            "SELECT head_id FROM conversations WHERE id = ?", (known_id,)
        ).fetchone()["head_id"]
        position = conversation.head
        while position != NO_PARENT:
            if places[position] == head:
                self._set_head(known_id, places[conversation.head])
                return
            position = conversation.messages[position].parent

    def _create(self, conversation: StagedConversation) -> None:
        new_id = self._transaction.insert(
            "INSERT INTO conversations"
            " (title, created_at, updated_at, model, system_prompt, sampling, is_pinned, is_archived, tags)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(conversation.title, conversation.created_at, conversation.updated_at, conversation.model),
                *(conversation.system_prompt, conversation.sampling),
                *(conversation.is_pinned, conversation.is_archived, conversation.tags),
            ),
        )
        places: list[int | None] = [None] * len(conversation.messages)
        added = self._insert(new_id, conversation.messages, places)
        self._set_head(new_id, places[conversation.head])
        self._count(added=1, messages=added)

    def _insert(
        self, conversation_id: int, messages: Sequence[StagedMessage], places: list[int | None]
    ) -> int:
        """Store those that have no place yet, and fill in their ids."""
        added = 0
        for position, message in enumerate(messages):
            if places[position] is None:
                parent_id = None if message.parent == NO_PARENT else places[message.parent]
                columns = msgspec.structs.astuple(message)[2:]
                message_id = self._transaction.insert(_INSERT_MESSAGE, (conversation_id, parent_id, *columns))
                write_parts(self._transaction, message_id, message.recorded)
                places[position] = message_id
                added += 1
        return added

    def _set_head(self, conversation_id: int, message_id: int | None) -> None:
        self._transaction.execute(
            "UPDATE conversations SET head_id = ? WHERE id = ?", (message_id, conversation_id)
        )

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.report, name) + int(number) for name, number in more.items()}
        self.report = msgspec.structs.replace(self.report, **counts)
