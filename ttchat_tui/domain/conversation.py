"""Stored conversations: trees of messages with their settings and figures."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams

MessageStatus: TypeAlias = Literal["complete", "streaming", "interrupted", "error"]
"""`streaming`: a running process is still writing this reply."""


ContextMark: TypeAlias = Literal["", "kept", "left out"]
"""kept: it stays when others do not fit into the context. left out: it is not sent."""


class ReplyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How a reply was generated: enough to show its figures and to generate it again."""

    model: str
    engine: str
    """The engine's label, as shown: `cpu fp32`, `tt n150`. Of an imported reply the program that it comes from, if known."""
    sampling: SamplingParams | None = None
    """None: unknown, as of an imported reply."""
    seed: int | None = None
    """The seed in use, also if the user asked for a random one. None: unknown."""
    token_ids: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    stats: GenerationStats | None = None
    """Of the last run: a reply that was continued or forked has tokens of earlier ones too."""
    error: str = ""

    @property
    def tokens(self) -> int:
        """Of the whole reply, as far as they are known."""
        return max(len(self.token_ids), self.stats.completion_tokens if self.stats is not None else 0)


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A stored message, which is a node of the conversation's tree."""

    id: int
    conversation_id: int
    parent_id: int | None
    """None for a first message."""
    sibling_index: int = 0
    """0-based position among the children of the same parent, in the order of creation."""
    sibling_count: int = 1
    role: Role
    content: str
    status: MessageStatus = "complete"
    created_at: float
    """Unix time, seconds."""
    reply: ReplyRecord | None = None
    """Assistant messages only."""
    is_edited: bool = False
    """The user wrote this reply, or its beginning."""
    branch_name: str = ""
    """Of the branch that begins with this message; empty: it has none."""
    context: ContextMark = ""
    summary: str = ""
    """Sent in the place of this message and those before it in its branch; empty: there is none."""


class Edit(msgspec.Struct, frozen=True):
    """An edit of a message that is not sent yet. It is kept beside the draft."""

    message_id: int
    text: str


def joined(*drafts: str) -> str:
    """Several drafts as one: each that is not blank is a paragraph."""
    return "\n\n".join(filter(str.strip, drafts))


class Draft(msgspec.Struct, frozen=True):
    """What a window has typed in a conversation and not sent."""

    text: str = ""
    edit: Edit | None = None
    """In the prompt in its place."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation and its settings."""

    id: int
    title: str
    created_at: float
    updated_at: float
    """Unix time, seconds. The list of conversations is ordered by it."""
    model: str = ""
    """The alias, hub id or path of the last model; empty before the first reply."""
    system_prompt: str = ""
    sampling: SamplingParams | None = None
    """None until the user changes a parameter: the model's recommendation applies."""
    head_id: int | None = None
    """The last message of the branch on screen."""
    draft: str = ""
    """The text in the prompt when it was last saved."""
    message_count: int = 0
    is_pinned: bool = False
    """It comes first in the list."""
    is_archived: bool = False
    """It is in the list of archived conversations instead, until the user writes in it again."""
    tags: tuple[str, ...] = ()
    """As `domain.tags` makes them, in the order in which they were given."""


class ListedConversation(msgspec.Struct, frozen=True):
    """What the list shows of a conversation."""

    id: int
    title: str
    updated_at: float
    """Unix time, seconds."""
    is_pinned: bool = False
    is_archived: bool = False
    tags: tuple[str, ...] = ()


class QueuedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A user's message that waits until the replies before it have ended. It is in no tree yet."""

    id: int
    conversation_id: int
    title: str
    """Its conversation's."""
    content: str
    candidates: int = 1
    """How many replies are wanted."""
