"""Messages that wait until the running reply has ended.

A queued message is stored like any other, only without a reply, so it survives a crash. It can be taken back.
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
    """First in, first out; at most one message per conversation."""

    def __init__(self) -> None:
        self._queue: deque[QueuedMessage] = deque()

    def add(self, queued: QueuedMessage) -> None:
        self._queue.append(queued)

    def __iter__(self) -> Iterator[QueuedMessage]:
        return iter(self._queue)

    def next(self) -> QueuedMessage | None:
        """Remove and return the first message; None if the queue is empty."""
        return self._queue.popleft() if self._queue else None

    def of(self, conversation_id: int | None) -> QueuedMessage | None:
        """The queued message of a conversation, or None."""
        return next((each for each in self._queue if each.home.id == conversation_id), None)

    def remove(self, queued: QueuedMessage) -> None:
        self._queue.remove(queued)
