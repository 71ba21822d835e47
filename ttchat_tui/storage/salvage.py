"""Clean-up of rows from a damaged database: valid values, valid references, and missing rows from a backup."""

from __future__ import annotations

import struct
from typing import Any, Final, get_args

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import MessageStatus, ReplyRecord
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.storage.damaged_rows import HIGHEST_ID, SavedRows, StoredRow, is_id
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.rows import LATEST_S, RowColumns, record_from, sampling_from, time_from
from ttchat_tui.storage.titles import title_from

_REPLY: Final = ("model", "engine", "seed", "finish_reason", "error", "sampling", "stats", "token_ids")

_OURS: Final[dict[str, type[int] | type[str]]] = {"is_pinned": int, "is_archived": int, "tags": str}
"""Columns that a damaged value leaves empty. An older database does not have them."""

_REFERENCES: Final = {"conversation_id", "parent_id"}


def drop_invalid(found: SavedRows, now: float) -> None:
    """Replace damaged values, and drop rows that are no valid message or conversation."""
    for table, rows, is_valid in (
        ("messages", found.messages, _is_message),
        ("conversations", found.conversations, _is_conversation),
    ):
        highest = _bound(found, table)
        for row_id, row in list(rows.items()):
            if row_id > highest or not is_valid(row, now):
                del rows[row_id]


def is_same_database(found: SavedRows, backup: SavedRows) -> bool:
    """False if the ids of both name other rows: the user has started over with a new file since the backup."""
    both = [(found.messages[each], backup.messages[each]) for each in found.messages.keys() & backup.messages]
    both += [
        (found.conversations[each], backup.conversations[each])
        for each in found.conversations.keys() & backup.conversations
    ]
    return not both or any(one["created_at"] == other["created_at"] for one, other in both)


def add_backup(found: SavedRows, backup: SavedRows) -> int:
    """Add what only `backup` has; return how many messages that were.

    For a message in both, the backup's row wins unless the reply was written since: the backup was checked. For a
    conversation in both, the found row wins: its title, draft and settings may have changed since, or it was deleted.
    """
    missing = backup.messages.keys() - found.messages.keys()
    for message_id, row in backup.messages.items():
        read = found.messages.get(message_id)
        if read is None or time_from(read["written_at"]) <= time_from(row["written_at"]):
            found.messages[message_id] = row
    found.conversations = {**backup.conversations, **found.conversations}
    found.recordings = {**backup.recordings, **found.recordings}
    for table, highest in backup.sequences.items():
        found.sequences[table] = max(highest, found.sequences.get(table, 0))
    if found.draft is None:
        found.draft = backup.draft
    return len(missing)


def _bound(found: SavedRows, table: str) -> int:
    """The highest id that a row can have."""
    if table not in found.sequences:
        return HIGHEST_ID
    indexed = found.places if table == "messages" else (place[0] for place in found.places.values())
    return max(found.sequences[table], *indexed, 0)


def _is_message(row: StoredRow, now: float) -> bool:
    """Whether `row` is a message with its text. Other damaged values are replaced."""
    if not isinstance(row.get("content"), str) or not row.keys() >= _REFERENCES:
        return False
    if row.get("role") not in get_args(Role):
        row["role"] = "user" if row.get("model") is None else "assistant"
    if row.get("status") not in get_args(MessageStatus):
        row["status"] = "interrupted" if row["role"] == "assistant" else "complete"
    if row["status"] == "streaming":
        row["status"] = "interrupted"
    row["writer"] = None
    row["created_at"] = _time(row.get("created_at"), now)
    row["written_at"] = _time(row.get("written_at"), None)
    if not is_readable_reply(row):
        row.update(dict.fromkeys(_REPLY))
    return True


def _is_conversation(row: StoredRow, now: float) -> bool:
    """Whether `row` is a conversation. Other damaged values are replaced."""
    if not all(isinstance(row.get(name), str) for name in ("title", "model", "system_prompt", "draft")):
        return False
    if not all(isinstance(row.get(name), int | float) for name in ("created_at", "updated_at")):
        return False
    row["created_at"] = _time(row["created_at"], now)
    row["updated_at"] = _time(row["updated_at"], now)
    row["deleted_at"] = _time(row.get("deleted_at"), None)
    if not is_readable_sampling(row.get("sampling")):
        row["sampling"] = None
    for name in row.keys() & _OURS.keys():
        if not isinstance(row[name], _OURS[name]):
            row[name] = _OURS[name]()
    return True


def _is_queued(row: StoredRow) -> bool:
    types = {"content": str, "writer": str, "place": int, "candidates": int, "created_at": int | float}
    return all(isinstance(row.get(name), type) for name, type in types.items())


def is_readable_reply(row: RowColumns) -> bool:
    """Whether the app can read how a reply was made. Other messages have nothing to read."""
    try:
        if row["model"] is not None:
            msgspec.convert(msgspec.to_builtins(record_from(row)), decodable(ReplyRecord))
    except (StorageError, msgspec.ValidationError, struct.error, LookupError, TypeError):
        return False
    return True


def is_readable_sampling(encoded: Any) -> bool:
    try:
        if encoded is not None:
            sampling_from(encoded)
    except (StorageError, TypeError):
        return False
    return True


def _time(value: Any, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < LATEST_S else otherwise


def mend_references(found: SavedRows) -> None:
    """Point every reference to an existing row. Ids do not change."""
    highest = _bound(found, "conversations")
    for message_id, row in list(found.messages.items()):
        conversation = row["conversation_id"]
        if not (is_id(conversation) and conversation <= highest):
            place = found.places.get(message_id)
            if place is None:
                del found.messages[message_id]
                continue
            row["conversation_id"], row["parent_id"] = place
    for message_id, row in found.messages.items():
        row["parent_id"] = _nearest_ancestor(found, message_id, row)
    newest = {found.messages[each]["conversation_id"]: each for each in sorted(found.messages)}
    for conversation in newest.keys() - found.conversations.keys():
        found.conversations[conversation] = _conversation_of(found, conversation)
    for conversation, row in found.conversations.items():
        head = row.get("head_id")
        shown = found.messages.get(head) if isinstance(head, int) else None
        if shown is None or shown["conversation_id"] != conversation:
            row["head_id"] = newest.get(conversation)
    found.recordings = {
        each: row
        for each, row in found.recordings.items()
        if each[0] in found.messages and isinstance(row["tokens"], int) and isinstance(row["data"], bytes)
    }
    found.queue = {
        each: row
        for each, row in found.queue.items()
        if row["conversation_id"] in found.conversations and _is_queued(row)
    }


def _nearest_ancestor(found: SavedRows, message_id: int, row: StoredRow) -> int | None:
    """The nearest message above that was saved. Parents are older than their children."""
    below, above = message_id, row["parent_id"]
    while is_id(above) and above < below:
        parent = found.messages.get(above)
        if parent is not None and parent["conversation_id"] == row["conversation_id"]:
            return above
        conversation, further = found.places.get(above, (None, None))
        if conversation != row["conversation_id"]:
            return None
        below, above = above, further
    return None


def _conversation_of(found: SavedRows, conversation: int) -> StoredRow:
    """A row for a lost conversation, from its messages."""
    rows = [row for _, row in sorted(found.messages.items()) if row["conversation_id"] == conversation]
    asked = next((row["content"] for row in rows if row["role"] == "user"), "")
    times = [row["created_at"] for row in rows]
    model = next((row["model"] for row in reversed(rows) if isinstance(row.get("model"), str)), "")
    return {
        "id": conversation,
        "title": title_from(asked),
        "model": model,
        "created_at": times[0],
        "updated_at": times[-1],
    }
