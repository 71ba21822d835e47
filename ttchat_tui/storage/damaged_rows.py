"""Every row that plain SQL can still read from a damaged database."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeGuard

import msgspec

from ttchat_tui.storage.database import decoded_text
from ttchat_tui.storage.drafts import NEW_DRAFTS, new_draft_from

StoredRow: TypeAlias = dict[str, Any]
"""A row by the names of its columns, with anything as values."""
Select: TypeAlias = Callable[..., Iterable[sqlite3.Row]]
"""Takes a query and its values."""

HIGHEST_ID: Final = 2**48
"""A damaged id beyond all use would leave AUTOINCREMENT none for the next message."""
_MOST_PROBES: Final = 1_000_000
"""Ids that are looked up one by one between unreadable pages: 3 s."""


class SavedRows(msgspec.Struct):
    """What could be read, by id."""

    conversations: dict[int, StoredRow] = {}
    messages: dict[int, StoredRow] = {}
    queue: dict[int, StoredRow] = {}
    """Messages that wait. Not taken from a backup: they may have been sent since."""
    recordings: dict[tuple[int, int], StoredRow] = {}
    """Parts of recordings, by message and first token."""
    places: dict[int, tuple[int, int | None]] = {}
    """Conversation and parent by message id, from the index `messages_by_parent`: it has those of lost messages too."""
    sequences: dict[str, int] = {}
    """The highest id ever assigned, by table."""
    draft: str | None = None
    """Of a conversation that is not created yet; None: unreadable, or there is none."""

    @property
    def is_empty(self) -> bool:
        """No message, though there were some; or nothing at all."""
        return not self.messages and (bool(self.places) or not self.draft)

    @property
    def size(self) -> int:
        """How many rows could be read."""
        return len(self.messages) + len(self.conversations)

    @property
    def known_messages(self) -> int:
        """How many messages there were, as far as anything shows."""
        return len(self.messages.keys() | self.places.keys())


def read_damaged(copy: Path, first_page: bytes) -> tuple[SavedRows, SavedRows]:
    """Read `copy` and its log twice: unchanged, then with `first_page` in place of their own.

    `first_page` is that of an empty database of ours: the tables of every database begin on the same pages, so a
    damaged header or schema costs nothing else. The second reading changes the copy.
    """
    pages = copy.stat().st_size // len(first_page)
    os.truncate(copy, pages * len(first_page))  # SQLite would read the rest of a cut page as zeros
    unchanged = _read_file(copy)
    with copy.open("r+b") as file:
        # Bytes 28 to 31: the size of the file in pages (sqlite.org/fileformat2.html, 1.3).
        file.write(first_page[:28] + pages.to_bytes(4, "big") + first_page[32:])
    return unchanged, _read_file(copy)


def _read_file(file: Path) -> SavedRows:
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = decoded_text

        def select(query: str, *values: int) -> Iterator[sqlite3.Row]:
            """Up to the first row that cannot be read."""
            # UnicodeDecodeError, because SQLite quotes a damaged schema in its messages.
            with suppress(sqlite3.DatabaseError, UnicodeDecodeError):
                yield from connection.execute(query, values)

        # Lets SQLite read a file that is shorter than its header says.
        list(select("PRAGMA writable_schema = ON"))
        return read_rows(select)


def read_rows(select: Select) -> SavedRows:
    """Every row that `select` returns, read in both directions."""
    found = SavedRows()
    for direction in ("ASC", "DESC"):
        for row in select(_PLACES.format(direction)):
            if is_id(row["id"]) and is_id(row["conversation_id"]):
                found.places[row["id"]] = (row["conversation_id"], row["parent_id"])
    for row in select("SELECT name, seq FROM sqlite_sequence"):
        if is_id(row["seq"]):
            found.sequences[row["name"]] = row["seq"]
    found.messages = _read_table(select, "messages", found.places)
    homes = [place[0] for place in found.places.values()]
    # In a damaged schema a column may have another name.
    named = (row.get("conversation_id") for row in found.messages.values())
    homes += [conversation for conversation in named if is_id(conversation)]
    found.conversations = _read_table(select, "conversations", homes)
    found.queue = {row["id"]: dict(row) for row in select("SELECT * FROM queue") if is_id(row["id"])}
    found.recordings = {
        (row["message_id"], row["first"]): dict(row)
        for row in select("SELECT message_id, first, tokens, data FROM recordings")
        if is_id(row["message_id"]) and isinstance(row["first"], int)
    }
    for pattern in NEW_DRAFTS:
        for row in select("SELECT key, value FROM app_state WHERE key GLOB ?", pattern):
            found.draft = new_draft_from(row["key"], row["value"]) or found.draft
    return found


_PLACES: Final = """
    SELECT conversation_id, parent_id, id FROM messages INDEXED BY messages_by_parent
    ORDER BY conversation_id {0}, parent_id {0}, id {0}
"""


def _read_table(select: Select, table: str, known_ids: Iterable[int]) -> dict[int, StoredRow]:
    """Read from both ends up to an unreadable page, then look up each id in between."""
    rows: dict[int, StoredRow] = {}
    low, high = 0, max(known_ids, default=0) + 1
    for row in select(f"SELECT * FROM {table} ORDER BY id"):
        if is_id(row["id"]):
            rows.setdefault(row["id"], dict(row))
            low = row["id"]
    for row in select(f"SELECT * FROM {table} ORDER BY id DESC"):
        if is_id(row["id"]):
            rows.setdefault(row["id"], dict(row))
            high = row["id"]
    for row_id in itertools.islice(range(low + 1, high), _MOST_PROBES):
        for row in select(f"SELECT * FROM {table} WHERE id = ?", row_id):
            rows.setdefault(row_id, dict(row))
    return rows


def is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value <= HIGHEST_ID
