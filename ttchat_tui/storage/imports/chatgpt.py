"""ChatGPT's export (conversations.json): nodes of a tree by their ids.

The fields are described at https://whychose.com/seo/chatgpt-conversations-json-format and
https://difegam.github.io/chatgpt-to-markdown/reference/data-models. OpenAI documents none of them.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import ImportedConversation
from ttchat_tui.storage.imports.turns import (
    Node,
    fenced,
    head_of,
    in_order,
    joined,
    role_of,
    thought,
    turns_of,
)

_SOURCE: Final = "ChatGPT"

_CITATION: Final = re.compile("\ue200[^\ue201]*\ue201")
"""References to web pages, between characters of a private area. The page itself replaces them by links."""

_HIDDEN: Final = frozenset({"user_editable_context", "model_editable_context", "reasoning_recap"})
"""Contents about the account, and the line `Thought for 5 s`."""


class _Author(msgspec.Struct):
    role: str


class _Content(msgspec.Struct):
    content_type: str = "text"
    parts: list[str | dict[str, Any] | None] | None = None
    text: str | None = None
    language: str | None = None
    thoughts: list[dict[str, Any]] | None = None
    title: str | None = None


class _Metadata(msgspec.Struct):
    is_visually_hidden_from_conversation: bool | None = None
    model_slug: str | None = None


class _Message(msgspec.Struct):
    author: _Author
    content: _Content
    create_time: float | None = None
    recipient: str | None = None
    metadata: _Metadata | None = None


class _Node(msgspec.Struct):
    message: _Message | None = None
    parent: str | None = None
    children: list[str] = []


class _Conversation(msgspec.Struct):
    mapping: dict[str, _Node]
    title: str | None = None
    create_time: float | None = None
    update_time: float | None = None
    current_node: str | None = None
    default_model_slug: str | None = None
    is_archived: Any = None


def read_chatgpt(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    conversation: _Conversation = entry.decode(_Conversation)
    nodes = {
        name: _node(each) for name, each in in_order(conversation.mapping, lambda each: each.children).items()
    }
    turns = turns_of(nodes, _SOURCE)
    return ImportedConversation(
        title=conversation.title or "",
        created_at=conversation.create_time or 0.0,
        updated_at=conversation.update_time or 0.0,
        model=conversation.default_model_slug or "",
        messages=turns.messages,
        head=head_of(turns, nodes, conversation.current_node),
        is_archived=conversation.is_archived is True,
    )


def _node(node: _Node) -> Node:
    message = node.message
    metadata = message.metadata if message is not None and message.metadata is not None else _Metadata()
    if message is None or metadata.is_visually_hidden_from_conversation:
        return Node(parent=node.parent, role="hidden", text="")
    role = role_of(message.author.role)
    return Node(
        parent=node.parent,
        role="hidden" if role == "system" else role,
        text=_text_of(message),
        created_at=message.create_time or 0.0,
        model=metadata.model_slug or "",
    )


def _text_of(message: _Message) -> str:
    content = message.content
    match content.content_type:
        case kind if kind in _HIDDEN:
            return ""
        case "code":
            language = content.language or ""
            return (
                fenced(content.text or "", "" if language == "unknown" else language) if content.text else ""
            )
        case "execution_output":
            return fenced(content.text or "") if content.text else ""
        case "thoughts":
            return thought(joined(_thought(each) for each in content.thoughts or ()))
        case _:
            text = joined([*map(_part, content.parts or ()), content.text or ""])
            text = _CITATION.sub("", text)
            is_call = message.author.role == "assistant" and message.recipient not in (None, "all")
            return fenced(text) if is_call and text else text


def _thought(thought: dict[str, Any]) -> str:
    texts = (thought.get("summary"), thought.get("content"))
    return joined(each for each in texts if isinstance(each, str))


def _part(part: str | dict[str, Any] | None) -> str:
    if isinstance(part, str):
        return part
    if part is None:
        return ""
    if isinstance(text := part.get("text"), str):  # what was spoken
        return text
    kind = str(part.get("content_type", "file")).partition("_")[0]
    return f"*[{kind}]*"  # the file itself is beside conversations.json, under another name
