"""Conversations that are ready to be stored: every value is checked and encoded before the database is locked."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from ttchat_tui.domain.tags import tags_in
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.imports.imported import EntryError, ImportedConversation, ImportedMessage
from ttchat_tui.storage.recording_parts import StoredPart, encoded
from ttchat_tui.storage.rows import LATEST_S, encoded_ids, encoded_sampling, encoded_stats, storable
from ttchat_tui.storage.titles import title_from

NO_PARENT: Final = -1
_HIGHEST_SEED: Final = 2**63 - 1


class StagedMessage(msgspec.Struct, frozen=True):
    """The position of its parent (or `NO_PARENT`), its recording, and the columns of its row."""

    parent: int
    recorded: tuple[StoredPart, ...]
    role: str
    content: str
    status: str
    created_at: float
    is_edited: bool = False
    branch_name: str = ""
    context: str = ""
    summary: str = ""
    model: str | None = None
    engine: str | None = None
    seed: int | None = None
    finish_reason: str | None = None
    error: str | None = None
    sampling: str | None = None
    stats: str | None = None
    token_ids: bytes | None = None


class StagedConversation(msgspec.Struct, frozen=True):
    title: str
    created_at: float
    updated_at: float
    model: str
    system_prompt: str
    sampling: str | None
    is_timed: bool
    """The export has its times, so that it is recognised by them."""
    head: int
    is_pinned: bool
    is_archived: bool
    tags: str
    messages: list[StagedMessage]

    @property
    def size(self) -> int:
        """Characters of its messages: most of what there is to write."""
        return sum(len(each.content) for each in self.messages)


def staged(conversation: ImportedConversation, changed_at: float) -> StagedConversation:
    """`changed_at`: when the file was last changed, for what has no time of its own. Raises EntryError."""
    messages = conversation.messages
    times = [each.created_at for each in messages if _is_time(each.created_at)]
    is_timed = _is_time(conversation.created_at)
    created_at = conversation.created_at if is_timed else min(times, default=changed_at)
    updated_at = conversation.updated_at
    if not _is_time(updated_at):
        updated_at = max(times, default=created_at)
    asked = next((each.content for each in messages if each.role == "user"), "")
    try:
        return StagedConversation(
            title=storable(" ".join(conversation.title.split())) or title_from(storable(asked)),
            created_at=created_at,
            updated_at=updated_at,
            model=storable(conversation.model),
            system_prompt=storable(conversation.system_prompt),
            sampling=encoded_sampling(conversation.sampling),
            is_timed=is_timed or bool(times),
            head=len(messages) - 1 if conversation.head is None else conversation.head,
            is_pinned=conversation.is_pinned,
            is_archived=conversation.is_archived,
            tags=" ".join(tags_in(" ".join(conversation.tags))),
            messages=[_staged_message(each, created_at) for each in messages],
        )
    except (StorageError, OverflowError, struct.error) as error:
        raise EntryError(f"a value is out of range: {str(error).rstrip('.')}") from error


def _staged_message(message: ImportedMessage, created_at: float) -> StagedMessage:
    is_streaming = message.status == "streaming"  # in the process that exported it
    plain = StagedMessage(
        parent=NO_PARENT if message.parent is None else message.parent,
        recorded=(encoded(message.recording),) if message.recording and message.recording.tokens else (),
        role=message.role,
        content=storable(message.content),
        status="interrupted" if is_streaming else message.status,
        created_at=message.created_at if _is_time(message.created_at) else created_at,
        is_edited=message.is_edited and message.role == "assistant",
        branch_name=storable(" ".join(message.branch_name.split())),
        context=message.context,
        summary=storable(message.summary),
    )
    record = message.reply
    if message.role != "assistant" or record is None:
        return plain
    if record.seed is not None and not 0 <= record.seed <= _HIGHEST_SEED:
        raise EntryError(f"a seed is out of range: {record.seed}")
    return msgspec.structs.replace(
        plain,
        model=storable(record.model),
        engine=storable(record.engine),
        seed=record.seed,
        finish_reason=record.finish_reason,
        error=storable(record.error),
        sampling=encoded_sampling(record.sampling),
        stats=encoded_stats(record.stats),
        token_ids=encoded_ids(record.token_ids),
    )


def _is_time(value: float) -> bool:
    return 0 < value < LATEST_S
