"""The replies whose timelines can be looked at: the latest of a conversation or of all, the running one first."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import structs

from ttchat_tui.domain.conversation import Message
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.storage.conversations import ConversationStore


class Timelines:
    """Reads only the figures; what was recorded of each token is in `RecordedReplies`."""

    def __init__(
        self, store: ConversationStore, runner: ReplyRunner, conversation_id: Callable[[], int | None]
    ) -> None:
        """`conversation_id`: of the conversation on screen; None: it is not stored yet."""
        self._store = store
        self._runner = runner
        self._conversation_id = conversation_id

    def running(self) -> Message | None:
        """The running reply with its figures so far, which lack what only its end tells."""
        running = self._runner.running
        if running is None:
            return None
        message = running.so_far()
        assert message.reply is not None
        record = structs.replace(message.reply, stats=self._runner.meter.stats())
        return structs.replace(message, reply=record)

    def latest(self, most: int, *, is_everywhere: bool) -> list[Message]:
        """The newest first. Raises StorageError."""
        here = self._conversation_id()
        running = self.running()
        if running is not None and not is_everywhere and running.conversation_id != here:
            running = None
        stored = (
            self._store.recent_replies(None if is_everywhere else here, most) if is_everywhere or here else []
        )
        found = [each for each in stored if running is None or each.id != running.id]
        return ([running] if running is not None else []) + found[: most - (running is not None)]
