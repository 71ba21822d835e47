"""Conversion between database rows and domain structs."""

from __future__ import annotations

import logging
import re
import sqlite3
import struct
from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, Protocol, get_args

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import ContextMark, Conversation, Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.storage.decode_words import clause_of
from ttchat_tui.storage.errors import REPAIR, StorageError

log = logging.getLogger(__name__)

LATEST_S: Final = 1e11
"""Unix time, seconds: the year 5138. Python's datetime ends at 9999."""

CONVERSATION_COLUMNS: Final = """
    c.id, c.title, c.created_at, c.updated_at, c.model, c.system_prompt, c.sampling, c.head_id, c.draft,
    c.is_pinned, c.is_archived, c.tags,
    (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id) AS message_count
"""

MESSAGE_COLUMNS: Final = """
    m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, m.created_at, m.model, m.engine, m.seed,
    m.finish_reason, m.error, m.sampling, m.stats, m.token_ids, m.is_edited, m.branch_name, m.context, m.summary,
    (SELECT count(*) FROM messages s WHERE s.conversation_id = m.conversation_id
        AND s.parent_id IS m.parent_id AND s.id < m.id) AS sibling_index,
    (SELECT count(*) FROM messages s WHERE s.conversation_id = m.conversation_id
        AND s.parent_id IS m.parent_id) AS sibling_count
"""


class RowColumns(Protocol):
    """A row by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any: ...


ROLES: Final = frozenset(get_args(Role))
STATUSES: Final = frozenset(get_args(MessageStatus))
_RECORD_KINDS: Final = (("model", str), ("engine", str), ("error", str), ("seed", int | None))
_FINISH_REASONS: Final = frozenset((None, *get_args(FinishReason)))

_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def conversation_from(row: sqlite3.Row, *, is_listed: bool = False) -> Conversation:
    """From a row of `CONVERSATION_COLUMNS` with any values. Invalid ones are replaced by harmless ones.

    Raises:
        StorageError: `database_corrupt`: settings that cannot be read. Not with `is_listed`: the list does not show
            them, and one damaged row must not hide it.
    """
    return Conversation(
        id=row["id"],
        title=text_from(row["title"]),
        created_at=time_from(row["created_at"]),
        updated_at=time_from(row["updated_at"]),
        model=text_from(row["model"]),
        system_prompt=text_from(row["system_prompt"]),
        sampling=_listed_sampling(row) if is_listed else _sampling(row),
        head_id=_id_from(row["head_id"]),
        draft=text_from(row["draft"]),
        message_count=row["message_count"],
        is_pinned=bool(row["is_pinned"]),
        is_archived=bool(row["is_archived"]),
        tags=tags_in(text_from(row["tags"])),
    )


def message_from(row: sqlite3.Row) -> Message:
    """From a row of `MESSAGE_COLUMNS` with any values, as `conversation_from`. A reply always has a record."""
    role, status = row["role"], row["status"]
    if role not in ROLES:
        role = "user" if row["model"] is None else "assistant"
    if status not in STATUSES:
        status = "interrupted" if role == "assistant" else "complete"
    return Message(
        id=row["id"],
        conversation_id=_id_from(row["conversation_id"]) or 0,
        parent_id=_id_from(row["parent_id"]),
        sibling_index=row["sibling_index"],
        sibling_count=row["sibling_count"],
        role=role,
        content=text_from(row["content"]),
        status=status,
        created_at=time_from(row["created_at"]),
        reply=_readable_record(row) if role == "assistant" else None,
        is_edited=row["is_edited"] == 1,
        branch_name=text_from(row["branch_name"]),
        context=mark_from(row["context"]),
        summary=text_from(row["summary"]),
    )


def mark_from(value: Any) -> ContextMark:
    """A mark from a column or a file with any value. `pinned` is the old name of `kept`."""
    return "kept" if value == "pinned" else value if value in get_args(ContextMark) else ""


def text_from(value: Any) -> str:
    """Text from a column that may hold a value of any type."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def time_from(value: Any) -> float:
    """Unix time, seconds; 0 for an invalid time."""
    return float(value) if isinstance(value, int | float) and 0 <= value < LATEST_S else 0.0


def _id_from(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _sampling(row: RowColumns) -> SamplingParams | None:
    return None if row["sampling"] is None else sampling_from(row["sampling"])


@lru_cache(maxsize=256)
def readable_sampling(encoded: Any) -> SamplingParams | None:
    """The parameters in a column that may hold a value of any type; None if they cannot be read."""
    if not isinstance(encoded, str):
        return None
    try:
        return sampling_from(encoded)
    except StorageError:
        return None


def _listed_sampling(row: sqlite3.Row) -> SamplingParams | None:
    try:
        return _sampling(row)
    except StorageError as error:
        log.warning("the settings of conversation %s cannot be read: %s", row["id"], error)
        return None


def _readable_record(row: sqlite3.Row) -> ReplyRecord:
    try:
        if not all(isinstance(row[name], kind) for name, kind in _RECORD_KINDS):
            raise TypeError("a column has another type")
        record = record_from(row)
        if record.finish_reason not in _FINISH_REASONS:
            raise ValueError("unknown finish reason")
    except (StorageError, TypeError, ValueError, struct.error) as error:
        log.warning("the record of message %s cannot be read: %s", row["id"], error)
        return ReplyRecord(model="", engine="")
    return record


def record_from(row: RowColumns) -> ReplyRecord:
    """How a reply was made. Raises StorageError, kind `database_corrupt`."""
    return ReplyRecord(
        model=row["model"],
        engine=row["engine"],
        sampling=_sampling(row),
        seed=row["seed"],
        token_ids=ids_from(row["token_ids"]),
        finish_reason=row["finish_reason"],
        stats=stats_from(row["stats"]),
        error=row["error"],
    )


def encoded_sampling(sampling: SamplingParams | None) -> str | None:
    """As JSON, validated so that it can be read again; None stays None.

    Raises:
        StorageError: `invalid_settings`, naming the field and its range.
    """
    if sampling is None:
        return None
    stop = tuple(storable(each) for each in sampling.stop)
    bias = {storable(text): amount for text, amount in sampling.logit_bias.items()}
    encoded = msgspec.json.encode(msgspec.structs.replace(sampling, stop=stop, logit_bias=bias)).decode()
    try:
        _known_sampling(encoded)
    except msgspec.ValidationError as error:
        raise StorageError(
            ErrorInfo(
                kind="invalid_settings",
                message=f"These sampling parameters cannot be stored: {clause_of(error)}.",
            )
        ) from error
    return encoded


def sampling_from(encoded: str) -> SamplingParams:
    """Raises StorageError, kind `database_corrupt`."""
    with _naming_damage():
        return _known_sampling(encoded)


@lru_cache(maxsize=256)  # few are distinct, and a long conversation has thousands of replies
def _known_sampling(encoded: str) -> SamplingParams:
    # Fields that this version does not know are left out: another instance may be newer.
    fields = msgspec.json.decode(encoded, type=decodable(dict[str, Any]))
    known = {name: value for name, value in fields.items() if name in SamplingParams.__struct_fields__}
    return msgspec.convert(known, decodable(SamplingParams))


def encoded_stats(stats: GenerationStats | None) -> str | None:
    return None if stats is None else msgspec.json.encode(stats).decode()


def stats_from(encoded: str | None) -> GenerationStats | None:
    """Raises StorageError, kind `database_corrupt`."""
    with _naming_damage():
        return None if encoded is None else msgspec.json.decode(encoded, type=decodable(GenerationStats))


@contextmanager
def _naming_damage() -> Generator[None]:
    try:
        yield
    except (msgspec.DecodeError, RecursionError, TypeError, UnicodeDecodeError) as error:
        raise StorageError(
            ErrorInfo(
                kind="database_corrupt",
                message=f"A stored message or setting cannot be read: {error}.",
                cure=REPAIR,
            )
        ) from error


def encoded_ids(token_ids: tuple[int, ...]) -> bytes:
    """Unsigned 32-bit, little-endian."""
    return struct.pack(f"<{len(token_ids)}I", *token_ids)


def ids_from(blob: bytes | None) -> tuple[int, ...]:
    return () if blob is None else struct.unpack(f"<{len(blob) // 4}I", blob)


def storable(text: str) -> str:
    """`text` as valid UTF-8: lone surrogates (undecodable bytes from stdin) become U+FFFD."""
    return _SURROGATES.sub("\ufffd", text) if _SURROGATES.search(text) else text
