"""Messages that wait for the end of the reply that runs: stored already, in line, and each can be taken back.

A waiting message is an ordinary one without a reply: whatever becomes of the process, it is in its conversation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ttchat_tui.domain.conversation import Message
from ttchat_tui.session.conversation import OpenConversation


@dataclass(frozen=True)
class QueuedMessage:
    home: OpenConversation
    message: Message
    candidates: int


class MessageQueue:
    """First come, first served; at most one message a conversation."""

    def __init__(self) -> None:
        self._queue: deque[QueuedMessage] = deque()

    def add(self, waiting: QueuedMessage) -> None:
        self._queue.append(waiting)

    def __iter__(self) -> Iterator[QueuedMessage]:
        return iter(self._queue)

    def next(self) -> QueuedMessage | None:
        """Take the first one out of the line."""
        return self._queue.popleft() if self._queue else None

    def of(self, conversation_id: int | None) -> QueuedMessage | None:
        """What waits in that conversation."""
        return next((each for each in self._queue if each.home.id == conversation_id), None)

    def remove(self, waiting: QueuedMessage) -> None:
        self._queue.remove(waiting)
