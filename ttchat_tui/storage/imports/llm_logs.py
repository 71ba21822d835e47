"""The logs.db of simonw/llm: its tables `responses` (before 0.32) and `threads`, `turns`, `messages`, `parts` (since).

Source: https://llm.datasette.io/en/stable/logging.html, and databases that llm 0.36 wrote. Since 0.32 a message is stored once,
by a hash, with its parent's: the messages of a thread are those above the ends of its turns.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.storage.database import decoded_text
from ttchat_tui.storage.imports.files import UnreadableError, open_regular
from ttchat_tui.storage.imports.imported import (
    EntryError,
    ImportedConversation,
    ImportedMessage,
    foreign_reply,
)
from ttchat_tui.storage.imports.turns import (
    Node,
    NodeRole,
    as_json,
    fenced,
    head_of,
    joined,
    role_of,
    thought,
    turns_of,
    unix_time,
)
from ttchat_tui.storage.rows import text_from

_SOURCE: Final = "llm"
_MAGIC: Final = b"SQLite format 3\0"

_CONVERSATIONS: Final = """
    SELECT coalesce(r.conversation_id, r.id) AS id, max(c.name) AS name, min(r.datetime_utc) AS began
    FROM responses r LEFT JOIN conversations c ON c.id = r.conversation_id
    WHERE {not_in_turns} GROUP BY 1 ORDER BY 3
"""
_RESPONSES: Final = """
    SELECT * FROM responses r WHERE coalesce(r.conversation_id, r.id) = ? AND {not_in_turns} ORDER BY r.datetime_utc, r.id
"""
_NOT_IN_TURNS: Final = "r.id NOT IN (SELECT id FROM turns)"
"""llm 0.32 wrote both for a while."""
_FRAGMENTS: Final = """
    SELECT f.content FROM {kind}_fragments p JOIN fragments f ON f.id = p.fragment_id WHERE p.response_id = ? ORDER BY p."order"
"""
_TURNS: Final = "SELECT tip_message_hash AS tip, model, datetime_utc FROM turns WHERE thread_id = ? ORDER BY datetime_utc, id"
_ABOVE: Final = """
    WITH RECURSIVE up (hash, parent_hash, role) AS (
        SELECT hash, parent_hash, role FROM messages WHERE hash = ?
        UNION
        SELECT m.hash, m.parent_hash, m.role FROM up JOIN messages m ON m.hash = up.parent_hash
    )
    SELECT hash, parent_hash, role FROM up
"""


class _Reference(msgspec.Struct):
    fragment: int | None = None
    literal: str = ""


class _Payload(msgspec.Struct):
    text_ref: list[_Reference] = []


def is_database(path: Path) -> bool:
    """Raises UnreadableError."""
    with open_regular(path) as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_llm_logs(
    path: Path, report: Callable[[int, int, str], None]
) -> Iterator[tuple[str, Callable[[], ImportedConversation]]]:
    """The place of each conversation, and what reads it (and may raise EntryError). The file is only read.

    Raises:
        UnreadableError: it is damaged, or another program's database.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = decoded_text
            connection.execute(
                "PRAGMA trusted_schema = OFF"
            )  # a stranger's file: its views call no functions
            logs = _Logs(connection)
            found = [*logs.old(), *logs.threads()]
            for done, (name, read) in enumerate(found, start=1):
                yield f"{path.name}, conversation {name}", partial(_readable, read)
                report(done, len(found), path.name)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"it is not a readable database ({error})", "Restore it from a backup."
        ) from error


def _readable(read: Callable[[], ImportedConversation]) -> ImportedConversation:
    try:
        return read()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise EntryError(f"it cannot be read from the database ({error})") from error


class _Logs:
    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises UnreadableError."""
        self._connection = connection
        self._tables = {
            row["name"] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not {"responses", "threads"} & self._tables:
            raise UnreadableError("it is a database, but not that of llm")
        self._not_in_turns = _NOT_IN_TURNS if "turns" in self._tables else "1"

    def _rows(self, query: str, *values: str) -> Iterator[sqlite3.Row]:
        yield from self._connection.execute(query, values)

    def old(self) -> Iterator[tuple[str, Callable[[], ImportedConversation]]]:
        if "responses" not in self._tables:
            return
        for row in self._rows(_CONVERSATIONS.format(not_in_turns=self._not_in_turns)):
            name = text_from(row["name"]) or text_from(row["id"])
            yield name, lambda row=row: self._conversation(text_from(row["id"]), text_from(row["name"]))

    def _conversation(self, name: str, title: str) -> ImportedConversation:
        messages: list[ImportedMessage] = []
        system = model = ""
        for row in self._rows(_RESPONSES.format(not_in_turns=self._not_in_turns), name):
            at, model = unix_time(text_from(row["datetime_utc"])), text_from(row["model"])
            system = system or self._with_fragments(row, "system")
            reasoning = text_from(row["reasoning"]) if "reasoning" in row.keys() else ""  # noqa: SIM118 (a Row)
            asked, answered = (
                self._with_fragments(row, "prompt"),
                joined([thought(reasoning), text_from(row["response"])]),
            )
            said: tuple[tuple[Role, str], ...] = (("user", asked), ("assistant", answered))
            for role, text in said:
                if text.strip():
                    reply = foreign_reply(model, _SOURCE) if role == "assistant" else None
                    parent = len(messages) - 1 if messages else None
                    messages.append(
                        ImportedMessage(parent=parent, role=role, content=text, created_at=at, reply=reply)
                    )
        return ImportedConversation(title=title, model=model, system_prompt=system, messages=messages)

    def _with_fragments(self, row: sqlite3.Row, kind: str) -> str:
        has_fragments = {f"{kind}_fragments", "fragments"} <= self._tables
        found = self._rows(_FRAGMENTS.format(kind=kind), text_from(row["id"])) if has_fragments else ()
        return joined([*(text_from(each["content"]) for each in found), text_from(row[kind])])

    def threads(self) -> Iterator[tuple[str, Callable[[], ImportedConversation]]]:
        if not {"threads", "turns", "messages", "parts"} <= self._tables:
            return
        for row in self._rows("SELECT * FROM threads ORDER BY datetime_utc, id"):
            yield text_from(row["name"]) or text_from(row["id"]), lambda row=row: self._thread(row)

    def _thread(self, row: sqlite3.Row) -> ImportedConversation:
        nodes: dict[str, Node] = {}
        system = ""
        for turn in list(self._rows(_TURNS, text_from(row["id"]))):
            chain = [each for each in self._rows(_ABOVE, text_from(turn["tip"])) if each["hash"] not in nodes]
            for each in reversed(chain):
                role = role_of(text_from(each["role"]))
                text = self._text_of(each["hash"], role)
                if role == "system" and each["parent_hash"] is None:
                    system, role = system or text, "hidden"
                nodes[each["hash"]] = Node(
                    parent=each["parent_hash"],
                    role=role,
                    text=text,
                    created_at=unix_time(text_from(turn["datetime_utc"])),
                    model=text_from(turn["model"]),
                )
        turns = turns_of(nodes, _SOURCE)
        return ImportedConversation(
            title=text_from(row["name"]),
            created_at=unix_time(text_from(row["datetime_utc"])),
            model=next((node.model for node in reversed(nodes.values())), ""),
            system_prompt=system,
            messages=turns.messages,
            head=head_of(turns, nodes, text_from(row["tip_message_hash"])),
        )

    def _text_of(self, message: str, role: NodeRole) -> str:
        parts = self._rows("SELECT * FROM parts WHERE message_hash = ? ORDER BY position", message)
        text = joined(map(self._part, list(parts)))
        return fenced(text) if role == "tool" and text else text

    def _part(self, part: sqlite3.Row) -> str:
        text, payload = text_from(part["text"]), text_from(part["payload"])
        match text_from(part["type"]):
            case "reasoning":
                return thought(text)
            case "text" | "tool_result":
                return text or self._referenced(payload)
            case "tool_call":
                name = text_from(part["tool_name"])
                with suppress(ValueError, RecursionError):  # shown as it is
                    return joined([f"*{name}*", as_json(json.loads(payload))])
                return joined([f"*{name}*", fenced(payload)])
            case _:
                return text

    def _referenced(self, payload: str) -> str:
        """Text that refers to fragments: `{"text_ref": [{"fragment": 1}, {"literal": "…"}]}`."""
        try:
            references = msgspec.json.decode(payload, type=decodable(_Payload)).text_ref
        except msgspec.DecodeError:
            return payload
        return "".join(self._fragment(each) for each in references)

    def _fragment(self, reference: _Reference) -> str:
        if reference.fragment is None:
            return reference.literal
        rows = self._rows("SELECT content FROM fragments WHERE id = ?", str(reference.fragment))
        return "".join(text_from(row["content"]) for row in rows)
