"""How rows and the domain's structs become each other."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import msgspec

from ttchat_tui.domain.conversation import Conversation, Message, ReplyRecord
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.errors import REPAIR, StorageError

CONVERSATION_COLUMNS: Final = """
    c.id, c.title, c.created_at, c.updated_at, c.model, c.system_prompt, c.sampling, c.head_id, c.draft,
    (SELECT count(*) FROM messages m WHERE m.conversation_id = c.id) AS message_count
"""

MESSAGE_COLUMNS: Final = """
    m.id, m.conversation_id, m.parent_id, m.role, m.content, m.status, m.created_at, m.model, m.engine, m.seed,
    m.finish_reason, m.error, m.sampling, m.stats, m.token_ids,
    (SELECT count(*) FROM messages s WHERE s.conversation_id = m.conversation_id
        AND s.parent_id IS m.parent_id AND s.id < m.id) AS sibling_index,
    (SELECT count(*) FROM messages s WHERE s.conversation_id = m.conversation_id
        AND s.parent_id IS m.parent_id) AS sibling_count
"""


class Columns(Protocol):
    """A row by the names of its columns."""

    def __getitem__(self, name: str, /) -> Any: ...


_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def conversation_from(row: sqlite3.Row) -> Conversation:
    """From a row of `CONVERSATION_COLUMNS`."""
    fields = {key: row[key] for key in row.keys()}  # noqa: SIM118 (a Row iterates over its values)
    sampling = fields.pop("sampling")
    return Conversation(**fields, sampling=None if sampling is None else sampling_from(sampling))


def message_from(row: sqlite3.Row) -> Message:
    """From a row of `MESSAGE_COLUMNS`."""
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        parent_id=row["parent_id"],
        sibling_index=row["sibling_index"],
        sibling_count=row["sibling_count"],
        role=row["role"],
        content=row["content"],
        status=row["status"],
        created_at=row["created_at"],
        reply=None if row["model"] is None else record_from(row),
    )


def record_from(row: Columns) -> ReplyRecord:
    """How a reply came to be. Raises StorageError, kind `database_corrupt`."""
    return ReplyRecord(
        model=row["model"],
        engine=row["engine"],
        sampling=sampling_from(row["sampling"]),
        seed=row["seed"],
        token_ids=ids_from(row["token_ids"]),
        finish_reason=row["finish_reason"],
        stats=stats_from(row["stats"]),
        error=row["error"],
    )


def encoded_sampling(sampling: SamplingParams) -> str:
    """As JSON, checked: what is stored can always be read again.

    Raises:
        StorageError: `invalid_settings`, naming the field and its range.
    """
    encoded = msgspec.json.encode(sampling).decode()
    try:
        _known_sampling(encoded)
    except msgspec.ValidationError as error:
        raise StorageError(
            ErrorInfo(kind="invalid_settings", message=f"These sampling parameters cannot be kept: {error}")
        ) from error
    return encoded


def sampling_from(encoded: str) -> SamplingParams:
    """Raises StorageError, kind `database_corrupt`."""
    with _naming_damage():
        return _known_sampling(encoded)


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
    except msgspec.DecodeError as error:
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
    """`text` as UTF-8 can hold it: lone surrogates (bytes of stdin that were no text) become U+FFFD."""
    return _SURROGATES.sub("\ufffd", text) if _SURROGATES.search(text) else text
