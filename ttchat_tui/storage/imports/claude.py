"""Claude's export (conversations.json): messages in order of time, each with its parent.

The fields are described at https://whychose.com/seo/claude-conversation-export-format. Anthropic documents none of them.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.attachments import block_of
from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import ImportedConversation
from ttchat_tui.storage.imports.turns import (
    Node,
    as_json,
    as_mapping,
    fenced,
    head_of,
    joined,
    thought,
    turns_of,
    unix_time,
)

_SOURCE: Final = "Claude"


class _Block(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    thinking: str | None = None
    name: str | None = None
    input: Any = None
    content: Any = None


class _Attachment(msgspec.Struct):
    file_name: str | None = None
    extracted_content: str | None = None


class _Message(msgspec.Struct):
    sender: str
    uuid: str = ""
    text: str | None = None
    content: list[_Block] | None = None
    created_at: str | None = None
    parent_message_uuid: str | None = None
    attachments: list[_Attachment] | None = None
    files: list[_Attachment] | None = None


class _Conversation(msgspec.Struct):
    chat_messages: list[_Message]
    name: str | None = None
    model: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    current_leaf_message_uuid: str | None = None


def read_claude(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    conversation: _Conversation = entry.decode(_Conversation)
    nodes: dict[str, Node] = {}
    before: str | None = None
    for place, message in enumerate(conversation.chat_messages):
        name = message.uuid or f"#{place}"
        parent = before if message.parent_message_uuid is None else message.parent_message_uuid
        nodes[name] = Node(
            parent=parent,
            role="user" if message.sender == "human" else "assistant",
            text=_text_of(message),
            created_at=unix_time(message.created_at),
            model=conversation.model or "",
        )
        before = name
    turns = turns_of(nodes, _SOURCE)
    return ImportedConversation(
        title=conversation.name or "",
        created_at=unix_time(conversation.created_at),
        updated_at=unix_time(conversation.updated_at),
        model=conversation.model or "",
        messages=turns.messages,
        head=head_of(turns, nodes, conversation.current_leaf_message_uuid or before),
    )


def _text_of(message: _Message) -> str:
    text = joined(map(_block, message.content or ())) or message.text or ""
    named = [each for each in (*(message.attachments or ()), *(message.files or ())) if each.file_name]
    return joined([text, *map(_attachment, named)])


def _block(block: _Block) -> str:
    match block.type:
        case "thinking":
            return thought(block.thinking or "")
        case "tool_use":
            return _tool_use(block)
        case "tool_result":
            return fenced(text) if (text := _result(block.content)) else ""
        case _:
            return block.text or ""


def _tool_use(block: _Block) -> str:
    """An artifact is shown as the code that it is, any other input as JSON."""
    given = block.input
    fields = as_mapping(given)
    if isinstance(code := fields.get("content"), str) and code.strip():
        title, language = fields.get("title"), fields.get("language")
        heading = f"*{title}*" if isinstance(title, str) and title else ""
        return joined([heading, fenced(code, language if isinstance(language, str) else "")])
    return joined([f"*{block.name}*" if block.name else "", as_json(given)]) if given else ""


def _result(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    texts = (as_mapping(each).get("text") for each in blocks)
    return joined(each for each in texts if isinstance(each, str))


def _attachment(attachment: _Attachment) -> str:
    """A file's text as a block of our own; a file without text by its name."""
    text = attachment.extracted_content
    return block_of(attachment.file_name or "", text) if text else f"*[{attachment.file_name}]*"
