"""What the user decides about the context: kept messages, those left out, and summaries."""

from __future__ import annotations

from collections.abc import Iterable

from ttchat_tui.domain.conversation import ContextMark
from ttchat_tui.storage.database import Database


class ContextMarks:
    """The marks of the messages of one database. Every method may raise `StorageError`; then nothing is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def set_mark(self, message_ids: Iterable[int], mark: ContextMark) -> None:
        self._set(message_ids, "context", mark)

    def set_summary(self, message_id: int, text: str) -> None:
        """Send `text` in the place of this message and those before it; empty: send them again."""
        self._set([message_id], "summary", text)

    def _set(self, message_ids: Iterable[int], column: str, value: str) -> None:
        with self._database.transaction() as transaction:
            for each in message_ids:
                transaction.change(
                    "This message", f"UPDATE messages SET {column} = ? WHERE id = ?", (value, each)
                )

    def take_ledger_turn(self, conversation_id: int) -> bool:
        """Whether the ledger may open by itself in this conversation: true once."""
        with self._database.transaction() as transaction:
            taken = transaction.execute(
                "UPDATE conversations SET ledger_shown = 1 WHERE id = ? AND ledger_shown = 0",
                (conversation_id,),
            )
        return taken.rowcount > 0
