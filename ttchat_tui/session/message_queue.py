"""Messages that wait for their turn: stored, so that a crash loses none, and sent in order, one at a time.

What waits is held when the user stops a reply, after a failure, and at the next start; then it waits until it is released.
What is added later is not held, and overtakes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set
from contextlib import suppress

from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.domain.updates import ConversationsChanged, DraftReturned, Notice, QueueChanged, Update
from ttchat_tui.session.notices import queue_elsewhere, queue_left, queue_taken
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.queue import GONE

log = logging.getLogger(__name__)


class MessageQueue:
    """First in, first out, over all conversations. What changes the queue returns the updates for the view.

    Methods that raise StorageError have changed nothing: kind `not_found` if the message has left the queue.
    """

    def __init__(
        self,
        store: ConversationStore,
        begin_next: Callable[[], list[Update]],
        leave_empty: Callable[[int], None],
    ) -> None:
        """`begin_next` sends the first message if nothing runs. `leave_empty` gets the id of a conversation from which a
        message was dropped, and which may have no other."""
        self._store = store
        self._begin_next = begin_next
        self._leave_empty = leave_empty
        self.messages: Sequence[QueuedMessage] = ()
        """First to last."""
        self.held: Set[int] = frozenset()
        """The ids of messages that wait until `release`."""
        self.behind_others: Set[int] = frozenset()
        """The ids of messages that wait, or have waited, for a reply that another window writes."""
        self._edited_id: int | None = None
        """This message is being edited: it keeps its place, and the queue waits for it."""

    @property
    def is_waiting(self) -> bool:
        """There are messages that are not held."""
        return len(self.held) < len(self.messages)

    @property
    def conversation_ids(self) -> set[int]:
        """The conversations with waiting messages."""
        return {each.conversation_id for each in self.messages}

    def next(self, answered: Set[int] = frozenset()) -> QueuedMessage | None:
        """The message whose turn it is, which stays in the queue; None while it is edited, or if all others are held. The
        messages of `answered`, conversations in which other windows answer, let those behind them pass."""
        ready = [each for each in self.messages if each.id not in self.held]
        self.behind_others |= {each.id for each in ready if each.conversation_id in answered}
        first = next((each for each in ready if each.conversation_id not in answered), None)
        return None if first is None or first.id == self._edited_id else first

    def refresh(self) -> None:
        """Read the queue again. Raises StorageError."""
        self._set(self._store.queue.messages())

    def remove(self, message: QueuedMessage) -> None:
        """Take a message off the list: it was sent, or the store no longer has it."""
        self._set([each for each in self.messages if each.id != message.id])

    def skip(self, message: QueuedMessage) -> list[Update]:
        """Of a message, something was not found. The store may have it all the same: then it is held, as what follows it."""
        self.remove(message)
        with suppress(StorageError):
            self.refresh()
        return [QueueChanged(), *(self.hold() if message in self.messages else [])]

    def leave(self, conversation_id: int) -> None:
        """Take the messages of a deleted conversation off the list."""
        self._set([each for each in self.messages if each.conversation_id != conversation_id])

    def _set(self, messages: Sequence[QueuedMessage], *, is_added: bool = False) -> None:
        """Show `messages`. One that was not known is held (its conversation is back, or another process left it), unless
        it `is_added`, which is the newest."""
        known, ids = {each.id for each in self.messages}, {each.id for each in messages}
        self.messages = messages
        self.held = (self.held & ids) | (ids - known - ({max(ids)} if is_added else set()))
        self.behind_others &= ids

    def hold(self, conversation_id: int | None = None) -> list[Update]:
        """Keep what waits now until `release`: all, or what is for one conversation."""
        if not self.is_waiting:
            return []
        self.held |= {each.id for each in self.messages if conversation_id in (None, each.conversation_id)}
        return [QueueChanged()]

    def release(self) -> list[Update]:
        """Send what waits, one after the other."""
        self.held = self.behind_others = frozenset()
        return [QueueChanged(), *self._begin_next()]

    def restore(self) -> list[Update]:
        """Take over what processes that have ended left (unless nothing of this session is kept: then they would be sent
        again), and what waits in a restored conversation. All that is held. Raises StorageError."""
        known = {each.id for each in self.messages}
        if self._store.mode == "read-write":
            self._set(self._store.queue.adopt())
        else:
            self.refresh()
        return [QueueChanged()] if {each.id for each in self.messages} != known else []

    def follow(self) -> list[Update]:
        """Show what has become of the queue meanwhile: messages of other windows that have ended are in it, held; messages
        that another window has taken over, since this one seemed to have ended, are not. Raises StorageError."""
        if self._store.mode != "read-write":
            return []
        known = {each.id for each in self.messages}
        changed = self.restore()
        ids = {each.id for each in self.messages}
        notices = [
            *([Notice(queue_left(len(ids - known)))] if ids - known else []),
            *([Notice(queue_taken(len(known - ids)))] if known - ids else []),
        ]
        return [*notices, *changed, ConversationsChanged()] if changed else []

    def elsewhere(self, conversation_id: int | None) -> list[Update]:
        """Say that messages of a conversation wait in another window, if some do. Raises StorageError."""
        count = self._store.queue.elsewhere(conversation_id) if conversation_id is not None else 0
        return [Notice(queue_elsewhere(count))] if count else []

    def give_up(self) -> None:
        """Leave what waits to the next window that looks, at the end of the session."""
        try:
            if self.messages:
                self._store.queue.leave()
        except StorageError as error:  # then it is taken over once this process is gone
            log.info("the queue could not be given up: %s", error)

    def add(self, conversation_id: int, text: str, candidates: int) -> list[Update]:
        """Add a message at the end. Raises StorageError."""
        self._set(self._store.queue.add(conversation_id, text, candidates), is_added=True)
        return [QueueChanged(), ConversationsChanged()]

    def begin_edit(self, message_id: int) -> QueuedMessage:
        """Keep the message from being sent until `end_edit`. Raises StorageError."""
        message = self._find(message_id)
        self._edited_id = message_id
        return message

    def end_edit(self, text: str | None) -> list[Update]:
        """Store the new text of the edited message; None leaves it as it was. A text that cannot be stored returns to the
        prompt, and what waits is held: the message in it is not what the user wants to send."""
        message_id, self._edited_id = self._edited_id, None
        failed: list[Update] = []
        if text is not None and message_id is not None:
            try:
                self._set(self._store.queue.edit(self._find(message_id), text))
            except StorageError as error:
                if error.info.kind == "not_found":
                    self._set([each for each in self.messages if each.id != message_id])
                failed = [DraftReturned(text, error.info), *self.hold()]
        return [*failed, QueueChanged(), ConversationsChanged(), *self._begin_next()]

    def drop(self, message_id: int) -> list[Update]:
        """Delete a message unsent. Raises StorageError."""
        message = self._find(message_id)
        self._set(self._store.queue.drop(message))
        self._leave_empty(message.conversation_id)
        return [QueueChanged(), ConversationsChanged()]

    def move(self, message_id: int, step: int) -> list[Update]:
        """Move a message towards the front (-1) or the end (1). Raises StorageError."""
        message = self._find(message_id)
        at = self.messages.index(message)
        if not 0 <= at + step < len(self.messages):
            return []
        self._set(self._store.queue.swap(message, self.messages[at + step]))
        return [QueueChanged()]

    def _find(self, message_id: int) -> QueuedMessage:
        message = next((each for each in self.messages if each.id == message_id), None)
        if message is None:
            raise StorageError(GONE)
        return message
