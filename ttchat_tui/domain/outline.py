"""The outline of a conversation: what its tree view shows of each message."""

from __future__ import annotations

import msgspec

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.conversation import MessageStatus
from ttchat_tui.domain.sampling import SamplingParams


class OutlineEntry(msgspec.Struct, frozen=True, gc=False):
    """One message, without most of its text."""

    id: int
    parent_id: int | None
    role: Role
    status: MessageStatus
    created_at: float
    """Unix time, seconds."""
    beginning: str
    """The first characters of its text."""
    model: str = ""
    """Replies only."""
    sampling: SamplingParams | None = None
    """Replies only."""
    is_edited: bool = False
    """The user wrote this reply, or its beginning."""
    branch_name: str = ""
    """Of the branch that begins with this message."""
