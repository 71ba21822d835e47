"""A conversation as every format is read: messages by position, parents before children."""

from __future__ import annotations

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import ContextMark, MessageStatus, ReplyRecord
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.sampling import SamplingParams


class EntryError(Exception):
    """An entry that cannot be imported. `str()` is a clause that says why."""

    def __init__(self, reason: str, cure: str = "") -> None:
        super().__init__(reason)
        self.cure = cure


class ImportedMessage(msgspec.Struct, frozen=True, kw_only=True):
    parent: int | None
    """Position of its parent, which is before it. None: a first message."""
    role: Role
    content: str
    created_at: float = 0.0
    """Unix time, seconds; 0: unknown."""
    status: MessageStatus = "complete"
    reply: ReplyRecord | None = None
    """Assistant messages only."""
    is_edited: bool = False
    """The user wrote this reply, or its beginning."""
    branch_name: str = ""
    context: ContextMark = ""
    summary: str = ""
    recording: Recording | None = None


class ImportedConversation(msgspec.Struct, frozen=True, kw_only=True):
    title: str = ""
    created_at: float = 0.0
    """Unix time, seconds; 0: unknown."""
    updated_at: float = 0.0
    model: str = ""
    system_prompt: str = ""
    sampling: SamplingParams | None = None
    messages: list[ImportedMessage]
    head: int | None = None
    """Position of the last message on screen. None: the last one."""
    is_pinned: bool = False
    is_archived: bool = False
    tags: tuple[str, ...] = ()


def foreign_reply(model: str, source: str) -> ReplyRecord:
    """The record of a reply that another program generated: sampling and seed are unknown. `source`: its name, in the place
    of the engine's label."""
    return ReplyRecord(model=model, engine=source)
