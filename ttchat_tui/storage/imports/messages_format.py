"""The messages format: `{"messages": [{"role": …, "content": …}, …]}`, one conversation a line.

The fields are those of OpenAI's Chat Completions API. There are no times and no branches.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import ImportedConversation
from ttchat_tui.storage.imports.turns import Node, as_json, fenced, joined, role_of, thought, turns_of


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class _Conversation(msgspec.Struct):
    messages: list[_Message]
    title: str | None = None
    model: str | None = None


def read_messages(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    conversation: _Conversation = entry.decode(_Conversation)
    messages = conversation.messages
    system = ""
    if messages and role_of(messages[0].role) == "system":
        system, messages = _content(messages[0]), messages[1:]
    nodes = {
        str(place): Node(
            parent=str(place - 1) if place else None,
            role=role_of(each.role),
            text=_text_of(each),
            model=conversation.model or "",
        )
        for place, each in enumerate(messages)
    }
    return ImportedConversation(
        title=conversation.title or "",
        model=conversation.model or "",
        system_prompt=system,
        messages=turns_of(nodes, "").messages,
    )


def _text_of(message: _Message) -> str:
    text = _content(message)
    if role_of(message.role) == "tool":
        return fenced(text) if text.strip() else ""
    before = [thought(message.reasoning_content)] if message.reasoning_content else []
    calls = [as_json(each.get("function", each)) for each in message.tool_calls or ()]
    return joined([*before, text, *calls]) if before or calls else text


def _content(message: _Message) -> str:
    if isinstance(message.content, list):
        return joined(text for each in message.content if isinstance(text := each.get("text"), str))
    return message.content or ""
