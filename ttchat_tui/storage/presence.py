"""Signs of life of the processes that write, for those that cannot look for them: on another host or in another container.
And what ended processes left unfinished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.writers import this_process

KEPT_S: Final = 86_400.0
"""Signs of life older than this are removed."""

_INTERRUPTED: Final = "interrupted "
"""The key in `app_state` of a reply that was cut off, and that no screen has reported: this and its message's id."""

_PAUSED: Final = "paused "
"""The key in `app_state` of a process that has paused its replies: this and the writer's name."""

ALIVE_AT: Final = "ifnull((SELECT CAST(value AS REAL) FROM app_state WHERE key = 'alive ' || writer), 0)"
"""In a query of rows with a `writer`: when that process last gave a sign of life; 0: never."""


class SignsOfLife:
    """May raise `StorageError`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def beat(self, *, is_paused: bool = False) -> None:
        """Store a sign of life of this process, and whether it has paused its replies."""
        key, now = f"{_PAUSED}{this_process().encoded()}", self._clock()
        with self._database.transaction() as transaction:
            beat(transaction, now)
            if is_paused:
                transaction.execute("REPLACE INTO app_state (key, value) VALUES (?, ?)", (key, str(now)))
            else:
                transaction.execute("DELETE FROM app_state WHERE key = ?", (key,))

    def paused_by_others(self) -> set[int]:
        """The conversations in which other processes have paused their replies."""
        sql = (
            "SELECT conversation_id FROM messages WHERE status = 'streaming' AND writer != ?"
            " AND EXISTS (SELECT 1 FROM app_state WHERE key = ? || writer)"
        )
        return {row[0] for row in self._database.rows(sql, this_process().encoded(), _PAUSED)}

    def take_interrupted(self) -> list[int]:
        """The ids of the replies that `Messages.recover` has marked since the last call, in any process: each is returned to
        one caller, who reports it. Writes nothing if there are none."""
        sql = "SELECT key FROM app_state WHERE key GLOB ?"
        if not self._database.rows(sql, f"{_INTERRUPTED}*"):
            return []
        with self._database.transaction() as transaction:
            keys = [row["key"] for row in transaction.execute(sql, (f"{_INTERRUPTED}*",)).fetchall()]
            transaction.executemany("DELETE FROM app_state WHERE key = ?", [(key,) for key in keys])
        return sorted(int(number) for key in keys if (number := key[len(_INTERRUPTED) :]).isdecimal())


def note_interrupted(transaction: Transaction, message_id: int) -> None:
    """Remember that a reply was cut off, until it is reported."""
    transaction.execute(
        "REPLACE INTO app_state (key, value) VALUES (?, '')", (f"{_INTERRUPTED}{message_id}",)
    )


def beat(transaction: Transaction, now: float) -> None:
    """Store a sign of life of this process at the time `now`."""
    transaction.execute(
        "REPLACE INTO app_state (key, value) VALUES (?, ?)", (f"alive {this_process().encoded()}", str(now))
    )
    transaction.execute(
        "DELETE FROM app_state WHERE (key LIKE 'alive %' OR key LIKE 'paused %') AND CAST(value AS REAL) < ?",
        (now - KEPT_S,),
    )
