"""Marks of conversations in the list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias

from ttchat_tui.domain.updates import ReplyEndedElsewhere, Update
from ttchat_tui.session.message_queue import MessageQueue
from ttchat_tui.session.running_reply import RunningReply

Mark: TypeAlias = Literal["", "running", "paused", "queued", "finished", "failed"]
"""A reply runs, or is paused, a message is queued, a reply has ended unseen, or failed."""


class Marks:
    """What happens or has happened in conversations that are not on screen."""

    def __init__(self, running: Callable[[], Sequence[RunningReply]], queue: MessageQueue) -> None:
        self._running = running
        self._queue = queue
        self._ended: dict[int, Mark] = {}

    def of(self, conversation_id: int) -> Mark:
        here = [each for each in self._running() if each.home.id == conversation_id]
        if here:
            return "paused" if all(each.control.is_paused for each in here) else "running"
        is_queued = conversation_id in self._queue.conversation_ids
        return "queued" if is_queued else self._ended.get(conversation_id, "")

    def note(self, updates: Iterable[Update]) -> None:
        """Mark the conversations elsewhere in which a reply has ended."""
        for update in updates:
            if isinstance(update, ReplyEndedElsewhere):
                self._ended[update.conversation.id] = "finished" if update.status == "complete" else "failed"

    def note_failed(self, *ids: int) -> None:
        """Mark conversations elsewhere in which a reply was cut off."""
        self._ended.update(dict.fromkeys(ids, "failed"))

    def clear(self, *ids: int) -> None:
        """The replies that have ended in these conversations have been seen, or are deleted."""
        for each in ids:
            self._ended.pop(each, None)
