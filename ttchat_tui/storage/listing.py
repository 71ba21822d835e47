"""The list of conversations, read whole once and from then on only where it has changed.

Reading 10,000 rows takes 20 ms, more than a frame, and the list is wanted at the begin and end of each reply. Triggers that
exist on this connection only note the conversations that it changes; `PRAGMA data_version` tells whether others have written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.storage.database import Database
from ttchat_tui.storage.rows import RowColumns, text_from, time_from

_LISTED: Final = """
    SELECT id, title, updated_at, is_pinned, is_archived, tags FROM conversations c
    WHERE {which} deleted_at IS NULL
        AND (head_id IS NOT NULL OR EXISTS (SELECT 1 FROM messages WHERE conversation_id = c.id)
            OR EXISTS (SELECT 1 FROM queue WHERE conversation_id = c.id))
"""

_NOTED: Final = [
    "CREATE TEMP TABLE touched (id INTEGER PRIMARY KEY)",
    *(
        f"CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table}"
        f" BEGIN INSERT OR IGNORE INTO touched VALUES ({row}); END"
        for table, event, row in (
            ("conversations", "INSERT", "NEW.id"),
            ("conversations", "UPDATE", "NEW.id"),
            ("conversations", "DELETE", "OLD.id"),
            ("queue", "INSERT", "NEW.conversation_id"),
            ("queue", "DELETE", "OLD.conversation_id"),
        )
    ),
]


class Listing:
    """The conversations of one database. May raise `StorageError`; the next call reads again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._version: int | None = None
        """`data_version` when it was last read; None: not yet."""
        self._known: dict[int, ListedConversation] = {}
        self._sorted: Sequence[ListedConversation] = ()

    def read(self) -> Sequence[ListedConversation]:
        """Newest first; the same object as before if nothing has changed."""
        version = self._read_version()
        if version != self._version:
            rows = self._database.rows(_LISTED.format(which=""))
            self._known = {row["id"]: _listed(row) for row in rows}
        elif touched := [row["id"] for row in self._database.rows("SELECT id FROM temp.touched")]:
            for each in touched:
                row = self._database.row(_LISTED.format(which="id = ? AND"), each)
                if row is None:
                    self._known.pop(each, None)
                else:
                    self._known[each] = _listed(row)
        else:
            return self._sorted
        self._database.rows("DELETE FROM temp.touched")
        self._version = version
        self._sorted = sorted(self._known.values(), key=lambda each: (-each.updated_at, -each.id))
        return self._sorted

    def _read_version(self) -> int:
        """Changes with each commit of another connection. Forgets what is known if this connection is a new one."""
        database = self._database
        if database.row("SELECT 1 FROM sqlite_temp_master WHERE name = 'touched'") is None:
            self._version = None
            for statement in _NOTED:
                database.rows(statement)
        row = database.row("PRAGMA data_version")
        assert row is not None
        return row[0]


def _listed(row: RowColumns) -> ListedConversation:
    tags = text_from(row["tags"])
    return ListedConversation(
        id=row["id"],
        title=text_from(row["title"]),
        updated_at=time_from(row["updated_at"]),
        is_pinned=bool(row["is_pinned"]),
        is_archived=bool(row["is_archived"]),
        tags=tags_in(tags) if tags else (),
    )
