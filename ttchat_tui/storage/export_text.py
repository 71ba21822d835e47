"""A conversation as plain text: what was said, without figures."""

from __future__ import annotations

from collections.abc import Sequence

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.storage.export_words import heading_of, local_time, without_line_breaks


def export_text(conversation: Conversation, messages: Sequence[Message]) -> str:
    """`messages`: one path, first to last. Their text is unchanged, Markdown included."""
    parts = [without_line_breaks(conversation.title) or "Conversation"]
    if conversation.system_prompt.strip():
        parts += ["=== System ===", conversation.system_prompt]
    for message in messages:
        at = local_time(message.created_at)
        parts.append(f"=== {without_line_breaks(heading_of(message))}{f', {at}' if at else ''} ===")
        parts.append(normalised(message.content) if message.role == "assistant" else message.content)
    return "\n\n".join(parts) + "\n"
