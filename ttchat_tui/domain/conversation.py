"""Stored conversations: a tree of messages with the settings and figures that belong to it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams

MessageStatus: TypeAlias = Literal["complete", "streaming", "interrupted", "error"]
"""`streaming` is only ever the state of a reply that some live process is writing."""


class ReplyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a reply came to be: enough to show its figures and to run it again."""

    model: str
    engine: str
    """What ran it, as shown: `cpu fp32`, `tt n150`."""
    sampling: SamplingParams
    seed: int
    """The seed that was used, also when the user asked for a random one."""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    stats: GenerationStats | None = None
    error: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message: a node of the conversation's tree."""

    id: int
    conversation_id: int
    parent_id: int | None
    """None for the first message of a branch from the root."""
    sibling_index: int = 0
    """0-based place among the children of the same parent, in order of creation."""
    sibling_count: int = 1
    role: Role
    content: str
    status: MessageStatus = "complete"
    created_at: float
    """Unix time, seconds."""
    reply: ReplyRecord | None = None
    """Assistant messages only."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation with the settings that belong to it."""

    id: int
    title: str
    created_at: float
    updated_at: float
    """Unix time, seconds; the list is ordered by it."""
    model: str = ""
    """The alias, hub id or path last used; empty before the first reply."""
    system_prompt: str = ""
    sampling: SamplingParams | None = None
    """None until the user changes something: then the model's recommendation holds."""
    head_id: int | None = None
    """The last message of the path that is on screen."""
    draft: str = ""
    """What stood in the prompt when the app last looked."""
    message_count: int = 0
