"""Open WebUI's export: an array of chats, each with its messages by their ids (`history.messages`).

Source: the type of a chat in https://github.com/open-webui/open-webui, backend/open_webui/models/chats.py, and its pages.
"""

from __future__ import annotations

import html
import re
from typing import Any, Final

import msgspec

from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import ImportedConversation
from ttchat_tui.storage.imports.turns import (
    Node,
    head_of,
    in_order,
    joined,
    role_of,
    thought,
    turns_of,
    unix_time,
)

_SOURCE: Final = "Open WebUI"
_REASONING: Final = re.compile(
    r'<details type="reasoning"[^>]*>\s*(?:<summary>[^<]*</summary>)?(.*?)</details>\s*', re.DOTALL
)
"""How it keeps a thought in the text: as quoted lines, with entities."""


class _Message(msgspec.Struct, rename="camel"):
    role: str
    content: str | list[dict[str, Any]] | None = None
    parent_id: str | None = None
    children_ids: list[str] = []
    timestamp: float | None = None
    model: str | None = None
    id: str = ""


class _History(msgspec.Struct, rename="camel"):
    messages: dict[str, _Message] = {}
    current_id: str | None = None


class _Chat(msgspec.Struct):
    title: str | None = None
    history: _History | None = None
    messages: list[_Message] = []
    models: list[str] = []
    timestamp: float | None = None
    system: str | None = None
    params: dict[str, Any] | None = None


class _Row(msgspec.Struct):
    chat: _Chat
    title: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    pinned: Any = None
    archived: Any = None


def read_open_webui(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    row: _Row = entry.decode(_Row)
    chat = row.chat
    history = chat.history if chat.history is not None and chat.history.messages else _listed(chat.messages)
    nodes = {
        name: _node(each) for name, each in in_order(history.messages, lambda each: each.children_ids).items()
    }
    turns = turns_of(nodes, _SOURCE)
    system = chat.system or (chat.params or {}).get("system")
    return ImportedConversation(
        title=row.title or chat.title or "",
        created_at=unix_time(row.created_at or chat.timestamp),
        updated_at=unix_time(row.updated_at),
        model=next(iter(chat.models), ""),
        system_prompt=system if isinstance(system, str) else "",
        messages=turns.messages,
        head=head_of(turns, nodes, history.current_id),
        is_pinned=row.pinned is True,
        is_archived=row.archived is True,
    )


def _listed(messages: list[_Message]) -> _History:
    """Old chats have only the messages on screen."""
    found: dict[str, _Message] = {}
    before: str | None = None
    for place, each in enumerate(messages):
        name = each.id or f"#{place}"
        found[name] = msgspec.structs.replace(each, parent_id=before)
        before = name
    return _History(found, before)


def _node(message: _Message) -> Node:
    return Node(
        parent=message.parent_id,
        role=role_of(message.role),
        text=_REASONING.sub(_thought, _text_of(message.content)),
        created_at=unix_time(message.timestamp),
        model=message.model or "",
    )


def _text_of(content: str | list[dict[str, Any]] | None) -> str:
    if isinstance(content, list):
        return joined(text for each in content if isinstance(text := each.get("text"), str))
    return content or ""


def _thought(match: re.Match[str]) -> str:
    lines = html.unescape(match[1]).strip().splitlines()
    return thought("\n".join(line.removeprefix(">").removeprefix(" ") for line in lines)) + "\n"
