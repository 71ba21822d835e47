"""What was recorded of the replies of a session, stored or still running."""

from __future__ import annotations

from collections.abc import Callable

from ttchat_tui.domain.recording import Recording
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.recordings import joined


class RecordedReplies:
    """Reads recordings when they are asked for."""

    def __init__(self, store: ConversationStore, running: Callable[[], RunningReply | None]) -> None:
        self._store = store
        self._running = running
        self._before: tuple[RunningReply, Recording] | None = None
        """The running reply, and what was recorded of it before it was continued."""

    def of(self, message_id: int) -> Recording:
        """The recording of a reply, also of the running one; without tokens if nothing was recorded.

        Raises:
            StorageError: it cannot be read.
        """
        running = self._running()
        if running is None or running.message.id != message_id or running.recorder is None:
            return self._store.recordings.of(message_id)
        if running.continued is None:
            return running.recorder.recording
        if self._before is None or self._before[0] is not running:
            earlier = self._store.recordings.of(message_id, running.recorder.first)
            self._before = running, earlier
        parts = (self._before[1], running.recorder.recording)
        return joined([part for part in parts if part.tokens])
