"""Reading the tree of messages: one, its children, the path that leads to it, the newest leaf below it."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.conversation import Message
from ttchat_tui.storage.database import Database
from ttchat_tui.storage.errors import not_found
from ttchat_tui.storage.rows import MESSAGE_COLUMNS, message_from

_ONE: Final = f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.id = ?"

_CHILDREN: Final = f"""
    SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? AND m.parent_id IS ? ORDER BY m.id
"""

# Parents are older than their children: order by id is order from the root. UNION, not UNION ALL: a damaged row that
# is its own ancestor must not make an endless path.
_PATH: Final = f"""
    WITH RECURSIVE up (id, parent_id) AS (
        SELECT id, parent_id FROM messages WHERE id = ?
        UNION
        SELECT p.id, p.parent_id FROM up JOIN messages p ON p.id = up.parent_id
    )
    SELECT {MESSAGE_COLUMNS} FROM up JOIN messages m ON m.id = up.id ORDER BY m.id
"""

# The newest message of a subtree cannot have a child, which would be newer: it is the newest leaf.
_LEAF: Final = """
    WITH RECURSIVE below (id, conversation_id) AS (
        SELECT id, conversation_id FROM messages WHERE id = ?
        UNION
        SELECT c.id, c.conversation_id
        FROM below JOIN messages c ON c.conversation_id = below.conversation_id AND c.parent_id = below.id
    )
    SELECT max(id) FROM below
"""

_TREE: Final = f"SELECT {MESSAGE_COLUMNS} FROM messages m WHERE m.conversation_id = ? ORDER BY m.id"


def message(database: Database, message_id: int) -> Message:
    """Raises StorageError, kind `not_found`."""
    row = database.row(_ONE, message_id)
    if row is None:
        raise _missing()
    return message_from(row)


def children(database: Database, parent_id: int | None, conversation_id: int) -> list[Message]:
    """Oldest first. Of `parent_id`, or with None the first messages of the conversation."""
    return [message_from(row) for row in database.rows(_CHILDREN, conversation_id, parent_id)]


def path(database: Database, message_id: int) -> list[Message]:
    """From the root to `message_id`, both included. Raises StorageError, kind `not_found`."""
    rows = database.rows(_PATH, message_id)
    if not rows:
        raise _missing()
    return [message_from(row) for row in rows]


def leaf_of(database: Database, message_id: int) -> Message:
    """The newest leaf below `message_id`, or itself. Raises StorageError, kind `not_found`."""
    row = database.row(_LEAF, message_id)
    if row is None or row[0] is None:
        raise _missing()
    return message(database, row[0])


def tree(database: Database, conversation_id: int) -> list[Message]:
    """Every message of the conversation, in order of creation: parents before their children."""
    return [message_from(row) for row in database.rows(_TREE, conversation_id)]


def _missing() -> Exception:
    return not_found("This message")
