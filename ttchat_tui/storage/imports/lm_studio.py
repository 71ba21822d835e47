"""LM Studio's conversations (`~/.lmstudio/conversations/*.conversation.json`): a list of places, each with its versions.

Only the selected version of a place has a continuation. LM Studio documents the folder, not the fields.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import ImportedConversation
from ttchat_tui.storage.imports.turns import (
    Node,
    as_json,
    head_of,
    joined,
    role_of,
    thought,
    turns_of,
    unix_time,
)

_SOURCE: Final = "LM Studio"


class _Part(msgspec.Struct, rename="camel"):
    type: str = "text"
    text: str | None = None
    name: str | None = None
    content: Any = None
    arguments: Any = None
    parameters: Any = None
    original_name: str | None = None


class _Style(msgspec.Struct):
    type: str = ""


class _Model(msgspec.Struct, rename="camel"):
    indexed_model_identifier: str | None = None
    identifier: str | None = None


class _Step(msgspec.Struct, rename="camel"):
    type: str = "contentBlock"
    content: list[_Part] | str | None = None
    style: _Style | None = None
    gen_info: _Model | None = None


class _Sender(msgspec.Struct, rename="camel"):
    sender_name: str | None = None


class _Version(msgspec.Struct, rename="camel"):
    role: str
    content: list[_Part] | str | None = None
    steps: list[_Step] = []
    sender_info: _Sender | None = None


class _Place(msgspec.Struct, rename="camel"):
    versions: list[_Version]
    currently_selected: int = 0


class _Field(msgspec.Struct):
    key: str = ""
    value: Any = None


class _Settings(msgspec.Struct):
    fields: list[_Field] = []


class _Conversation(msgspec.Struct, rename="camel"):
    messages: list[_Place]
    per_chat_prediction_config: _Settings | None = None
    name: str | None = None
    created_at: float | None = None
    system_prompt: str | None = None
    user_last_messaged_at: float | None = None
    assistant_last_messaged_at: float | None = None


def read_lm_studio(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    conversation: _Conversation = entry.decode(_Conversation)
    nodes: dict[str, Node] = {}
    above: str | None = None
    for place, slot in enumerate(conversation.messages):
        for number, version in enumerate(slot.versions):
            nodes[f"{place}/{number}"] = Node(
                parent=above,
                role=role_of(version.role),
                text=joined(map(_step, version.steps)) or _content(version.content),
                model=_model_of(version),
            )
        if slot.versions:
            above = f"{place}/{min(max(slot.currently_selected, 0), len(slot.versions) - 1)}"
    turns = turns_of(nodes, _SOURCE)
    replies = [each.reply.model for each in turns.messages if each.reply is not None]
    last = max(conversation.user_last_messaged_at or 0.0, conversation.assistant_last_messaged_at or 0.0)
    return ImportedConversation(
        title=conversation.name or "",
        created_at=unix_time(conversation.created_at),
        updated_at=unix_time(last),
        model=replies[-1] if replies else "",
        system_prompt=conversation.system_prompt or _system_prompt(conversation.per_chat_prediction_config),
        messages=turns.messages,
        head=head_of(turns, nodes, above),
    )


def _system_prompt(settings: _Settings | None) -> str:
    fields = settings.fields if settings is not None else []
    values = (each.value for each in fields if each.key == "llm.prediction.systemPrompt")
    return next((each for each in values if isinstance(each, str)), "")


def _model_of(version: _Version) -> str:
    for step in reversed(version.steps):
        if step.gen_info is not None and (
            name := step.gen_info.indexed_model_identifier or step.gen_info.identifier
        ):
            return name
    return (version.sender_info.sender_name if version.sender_info else "") or ""


def _step(step: _Step) -> str:
    text = _content(step.content)
    return thought(text) if step.style is not None and step.style.type == "thinking" else text


def _content(content: list[_Part] | str | None) -> str:
    return content if isinstance(content, str) else joined(map(_part, content or ()))


def _part(part: _Part) -> str:
    match part.type:
        case "text":
            return part.text or ""
        case "file":
            return f"*[{part.original_name or part.name or 'file'}]*"
        case "toolCallRequest":
            return joined(
                [f"*{part.name}*" if part.name else "", as_json(part.parameters or part.arguments or {})]
            )
        case _:
            return as_json(part.content) if part.content else part.text or ""
