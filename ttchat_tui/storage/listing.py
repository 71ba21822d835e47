"""The list of conversations, read whole once and from then on only where it has changed.

Reading 10,000 rows takes 20 ms, more than a frame, and the list is wanted at the begin and end of each reply. Triggers that
exist on this connection only note the conversations that it changes; `PRAGMA data_version` tells whether others have written.
Then another thread reads the list, over a connection of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.storage.database import Database, rows_beside
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


class ReadList(NamedTuple):
    """The list as another thread has read it."""

    reading: int
    version: int
    known: dict[int, ListedConversation]
    listed: Sequence[ListedConversation]


class Listing:
    """The conversations of one database. May raise `StorageError`; the next call reads again."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._version: int | None = None
        """`data_version` when it was last read; None: not yet."""
        self._known: dict[int, ListedConversation] = {}
        self._sorted: Sequence[ListedConversation] = ()
        self._readings = 0
        """How often it was read whole."""
        self._changed: set[int] = set()
        """What this connection has changed since the reading on another thread began."""

    def read(self, *, waits: bool = True) -> Sequence[ListedConversation]:
        """Newest first; the same object as before if nothing has changed. Without `waits`, what others have written is not
        read: see `read_aside`."""
        version = self._read_version()
        touched = [row["id"] for row in self._database.rows("SELECT id FROM temp.touched")]
        if self._version is None or (waits and version != self._version):
            self._known = _by_id(self._database.rows(_LISTED.format(which="")))
            self._version = version
            self._readings += 1
        elif touched:
            self._read_rows(touched)
            self._changed.update(touched)
        else:
            return self._sorted
        self._database.rows("DELETE FROM temp.touched")
        self._sorted = _in_order(self._known)
        return self._sorted

    def read_aside(self) -> Callable[[], ReadList] | None:
        """What reads the list on another thread, for `adopt`; None: nobody else has written."""
        version = self._read_version()
        if version == self._version or self._version is None:
            return None
        path, reading, before = self._database.path, self._readings, self._sorted
        self._changed = set()

        def read() -> ReadList:
            known = _by_id(rows_beside(path, _LISTED.format(which="")))
            listed = _in_order(known)
            return ReadList(reading, version, known, before if listed == before else listed)

        return read

    def adopt(self, found: ReadList) -> None:
        """Take over what `read_aside` has read, with what this connection has changed since."""
        if found.reading != self._readings:  # it was read here meanwhile
            return
        self._readings += 1
        self._version, self._known, self._sorted = found.version, found.known, found.listed
        if self._changed:
            self._read_rows(self._changed)
            self._sorted = _in_order(self._known)

    def _read_rows(self, ids: Iterable[int]) -> None:
        for each in ids:
            row = self._database.row(_LISTED.format(which="id = ? AND"), each)
            if row is None:
                self._known.pop(each, None)
            else:
                self._known[each] = _listed(row)

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


def _by_id(rows: Iterable[RowColumns]) -> dict[int, ListedConversation]:
    return {row["id"]: _listed(row) for row in rows}


def _in_order(known: dict[int, ListedConversation]) -> Sequence[ListedConversation]:
    return sorted(known.values(), key=lambda each: (-each.updated_at, -each.id))


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
