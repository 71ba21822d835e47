"""Our own JSON (`storage.export.ConversationFile`)."""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.recording import Recording
from ttchat_tui.storage.export import VERSION, ConversationFile
from ttchat_tui.storage.export_recording import FileRecording, from_file
from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.imported import EntryError, ImportedConversation, ImportedMessage
from ttchat_tui.storage.rows import mark_from


class _Message(Message, frozen=True, kw_only=True):
    context: Any = ""
    """A mark, also by its old name."""


class _File(ConversationFile, frozen=True, kw_only=True):
    messages: tuple[_Message, ...]


class _Version(msgspec.Struct):
    version: int


def read_own(entry: Entry) -> ImportedConversation:
    """Raises EntryError; msgspec.ValidationError."""
    version = entry.decode(_Version).version
    if version > VERSION:
        raise EntryError(
            f"a newer ttchat-tui wrote it (version {version} of the format, this one knows {VERSION})",
            "Use the newer version of ttchat-tui.",
        )
    file = entry.decode(_File)
    recordings = {each.message_id: _recording(each) for each in file.recordings}
    places: dict[int, int] = {}
    messages: list[ImportedMessage] = []
    for message in file.messages:
        if message.id in places:
            raise EntryError(f"two messages have the id {message.id}")
        messages.append(_message(message, places, recordings.get(message.id)))
        places[message.id] = len(places)
    conversation = file.conversation
    return ImportedConversation(
        title=conversation.title,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        model=conversation.model,
        system_prompt=conversation.system_prompt,
        sampling=conversation.sampling,
        messages=messages,
        head=places.get(conversation.head_id) if conversation.head_id is not None else None,
        is_pinned=conversation.is_pinned,
        is_archived=conversation.is_archived,
        tags=conversation.tags,
    )


def _recording(file: FileRecording) -> Recording:
    try:
        return from_file(file)
    except struct.error as error:
        raise EntryError(f"the recording of message {file.message_id} is out of range: {error}") from error


def _message(message: _Message, places: dict[int, int], recording: Recording | None) -> ImportedMessage:
    """The messages above one that was exported alone are not in the file: it has no parent then."""
    if message.parent_id is not None and message.parent_id >= message.id:
        raise EntryError(f"message {message.id} follows message {message.parent_id}, which is not older")
    return ImportedMessage(
        parent=places.get(message.parent_id) if message.parent_id is not None else None,
        role=message.role,
        content=message.content,
        created_at=message.created_at,
        status=message.status,
        reply=message.reply,
        is_edited=message.is_edited,
        branch_name=message.branch_name,
        context=mark_from(message.context),
        summary=message.summary,
        recording=recording,
    )
