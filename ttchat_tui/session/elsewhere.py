"""Updates about a reply in a conversation that is not on screen."""

from __future__ import annotations

from collections.abc import Iterable

from ttchat_tui.domain.updates import (
    ConversationsChanged,
    Notice,
    ReplyBegan,
    ReplyEnded,
    ReplyEndedElsewhere,
    Update,
)
from ttchat_tui.session.conversation import OpenConversation


def out_of_sight(home: OpenConversation, updates: Iterable[Update], *, is_over: bool) -> list[Update]:
    """Reduce `updates` about a reply in `home` to its start and its end, without its text.

    Args:
        is_over: the reply has ended; a notice says why it failed.
    """
    seen: list[Update] = []
    for update in updates:
        match update:
            case ReplyEnded(message, error) if home.conversation is not None:
                seen.append(ReplyEndedElsewhere(home.conversation, message.status, error, message.content))
            case Notice(error) if is_over and home.conversation is not None:
                seen.append(ReplyEndedElsewhere(home.conversation, "error", error))
            case ReplyBegan():
                seen.append(ConversationsChanged())
            case ConversationsChanged() | Notice():
                seen.append(update)
            case _:
                pass
    return seen
