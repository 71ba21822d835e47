"""What the records of a damaged database were: conversations and messages again, with references that lead somewhere.

Indexes are a second witness: `messages_by_parent` says of a message that is lost that it was there, and below which.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias, TypeGuard, get_args

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import MessageStatus, ReplyRecord
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.pages import Field, Record
from ttchat_tui.storage.rows import LATEST_S, Columns, record_from, sampling_from
from ttchat_tui.storage.titles import title_from

Row: TypeAlias = dict[str, Field]

_HIGHEST_ID: Final = 2**48
"""A damaged id beyond all use would leave AUTOINCREMENT none for the next message."""
_REPLY: Final = ("model", "engine", "seed", "finish_reason", "error", "sampling", "stats", "token_ids")


class Salvage(msgspec.Struct):
    """Rows by id, as our tables want them once `mend` has been over them."""

    conversations: dict[int, Row] = {}
    messages: dict[int, Row] = {}
    places: dict[int, tuple[int, int | None]] = {}
    """Conversation and parent of a message, by its id, as the index has them."""
    sequences: dict[str, int] = {}
    """The highest id that was ever given out, by table."""
    draft: str = ""

    @property
    def is_empty(self) -> bool:
        return not (self.conversations or self.messages or self.draft)

    @property
    def known_messages(self) -> int:
        """How many there were, as far as anything tells."""
        return len(self.messages.keys() | self.places.keys())


def sort_out(records: Iterable[Record], columns: Mapping[str, list[str]], now: float) -> Salvage:
    """Tell the records by their shape. `columns`: of each table, in the order of its records."""
    found = Salvage()
    rows: dict[str, list[Row]] = {"messages": [], "conversations": []}
    for rowid, fields in records:
        if rowid is None:
            _read_index(found, fields)
        elif len(fields) == 2:
            _read_sequence(found, fields)
        elif fields and fields[0] is None:  # an INTEGER PRIMARY KEY stands outside of its record
            for table, read in (("messages", _message), ("conversations", _conversation)):
                row = read({**dict(zip(columns[table], fields, strict=False)), "id": rowid}, now)
                if row is not None:
                    rows[table].append(row)
    for table, into in (("messages", found.messages), ("conversations", found.conversations)):
        # Where two claim an id, damage has hit it in one: the index tells which.
        for row in sorted(rows[table], key=lambda row: not _is_witnessed(found, row)):
            if _is_id(row["id"]) and row["id"] <= _bound(found, table):
                into.setdefault(row["id"], row)
    return found


def _read_index(found: Salvage, fields: tuple[Field, ...]) -> None:
    if (
        len(fields) == 4
    ):  # messages_by_parent: conversation_id, parent_id, id, and the rowid, which is the id again
        conversation, parent, message, rowid = fields
        if (
            _is_id(conversation)
            and (parent is None or _is_id(parent))
            and _is_id(message)
            and message == rowid
        ):
            found.places[message] = (conversation, parent)
    elif len(fields) == 2 and fields[0] == "new_draft" and isinstance(fields[1], str):
        found.draft = fields[1]


def _read_sequence(found: Salvage, fields: tuple[Field, ...]) -> None:
    table, highest = fields
    if table in ("messages", "conversations") and _is_id(highest):
        found.sequences[table] = max(highest, found.sequences.get(table, 0))


def _is_id(value: Field) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value <= _HIGHEST_ID


def _bound(found: Salvage, table: str) -> int:
    """The highest id that a row can have."""
    if table not in found.sequences:
        return _HIGHEST_ID
    witnessed = found.places if table == "messages" else (place[0] for place in found.places.values())
    return max(found.sequences[table], *witnessed, 0)


def _is_witnessed(found: Salvage, row: Row) -> bool:
    place = found.places.get(row["id"]) if _is_id(row["id"]) else None
    return place is not None and place == (row.get("conversation_id"), row.get("parent_id"))


def _message(row: Row, now: float) -> Row | None:
    """`row` with what is damaged in it replaced; None if it is no message, or one without its words."""
    if row.get("role") not in get_args(Role) or not isinstance(row.get("content"), str):
        return None
    if row.get("status") not in get_args(MessageStatus):
        row["status"] = "interrupted" if row["role"] == "assistant" else "complete"
    if row["status"] == "streaming":
        row["status"] = "interrupted"
    row["writer"] = None
    row["created_at"] = _time(row.get("created_at"), now)
    row["written_at"] = _time(row.get("written_at"), None)
    if not is_readable(row):
        row.update(dict.fromkeys(_REPLY))
    return row


def is_readable(row: Columns) -> bool:
    """Whether the app can read how a reply came to be; of other messages there is nothing to read."""
    try:
        if row["model"] is not None:
            msgspec.convert(msgspec.to_builtins(record_from(row)), decodable(ReplyRecord))
    except (StorageError, msgspec.ValidationError, struct.error, LookupError, TypeError):
        return False
    return True


def _conversation(row: Row, now: float) -> Row | None:
    if not all(isinstance(row.get(name), str) for name in ("title", "model", "system_prompt", "draft")):
        return None
    if not all(isinstance(row.get(name), int | float) for name in ("created_at", "updated_at")):
        return None
    row["created_at"] = _time(row["created_at"], now)
    row["updated_at"] = _time(row["updated_at"], now)
    row["deleted_at"] = _time(row.get("deleted_at"), None)
    if not is_readable_setting(row.get("sampling")):
        row["sampling"] = None
    return row


def is_readable_setting(sampling: Field) -> bool:
    if sampling is None:
        return True
    try:
        sampling_from(sampling)  # pyright: ignore[reportArgumentType]
    except (StorageError, TypeError):
        return False
    return True


def _time(value: Field, otherwise: float | None) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value < LATEST_S else otherwise


def mend(found: Salvage) -> None:
    """Let every reference lead to something that is there; ids stay."""
    highest = _bound(found, "conversations")
    for message_id, row in list(found.messages.items()):
        conversation = row["conversation_id"]
        if not (_is_id(conversation) and conversation <= highest):
            place = found.places.get(message_id)
            if place is None:
                del found.messages[message_id]
                continue
            row["conversation_id"], row["parent_id"] = place
    for message_id, row in found.messages.items():
        row["parent_id"] = _living_parent(found, message_id, row)
    newest: dict[Field, int] = {}
    for message_id in sorted(found.messages):
        newest[found.messages[message_id]["conversation_id"]] = message_id
    for conversation in newest.keys() - found.conversations.keys():
        assert isinstance(conversation, int)
        found.conversations[conversation] = _made_again(found, conversation)
    for conversation, row in found.conversations.items():
        head = row.get("head_id")
        shown = found.messages.get(head) if isinstance(head, int) else None
        if shown is None or shown["conversation_id"] != conversation:
            row["head_id"] = newest.get(conversation)


def _living_parent(found: Salvage, message_id: int, row: Row) -> int | None:
    """The nearest message above that is left, as far up as is known; parents are older than their children."""
    below, above = message_id, row["parent_id"]
    while _is_id(above) and above < below:
        parent = found.messages.get(above)
        if parent is not None and parent["conversation_id"] == row["conversation_id"]:
            return above
        conversation, further = found.places.get(above, (None, None))
        if conversation != row["conversation_id"]:
            return None
        below, above = above, further
    return None


def _made_again(found: Salvage, conversation: int) -> Row:
    rows = [row for _, row in sorted(found.messages.items()) if row["conversation_id"] == conversation]
    asked = next((row["content"] for row in rows if row["role"] == "user"), "")
    times = [row["created_at"] for row in rows]
    model = next((row["model"] for row in reversed(rows) if isinstance(row.get("model"), str)), "")
    return {
        "id": conversation,
        "title": title_from(str(asked)),
        "model": model,
        "created_at": times[0],
        "updated_at": times[-1],
    }
