"""Writing of replies to the store: checkpoints, ends, and further attempts where writing fails."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import RowFinished
from ttchat_tui.domain.generation import Candidate, FinishReason, GenerationStats
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.session.candidate_rows import CandidateRow
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.running_reply import CHECKPOINT_S, LONGEST_BACKOFF_S, RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.recording_parts import StoredPart

_LOCAL: Final = "ttchat_tui.models.local"
"""Imported by name: it reads the catalog, which would delay the first frame."""

log = logging.getLogger(__name__)


def lasting_name(model: str) -> str:
    """See `models.local`."""
    return importlib.import_module(_LOCAL).lasting_name(model)


class ReplyWriter:
    """Writes the running reply and finished ones. A reply that cannot be written is kept in memory and retried."""

    def __init__(self, store: ConversationStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._unsaved: dict[int, tuple[Message, Sequence[StoredPart]]] = {}
        self._backoff_s = CHECKPOINT_S
        self._due = 0.0
        self._reported_kind = ""

    @property
    def has_work(self) -> bool:
        """Something is not in the database file yet."""
        return bool(self._unsaved) or self._store.is_log_filled

    def overlay(self, home: OpenConversation) -> None:
        """Add finished replies that are not on disk to the path of a conversation that was just read."""
        for message, _ in self._unsaved.values():
            home.replace(message)

    def begin_rows(
        self, home: OpenConversation, rows: Sequence[Candidate], record: ReplyRecord, model: str
    ) -> list[Message]:
        """Store an empty reply to the end of the path for each row, beside each other. The first is the head. `model`: as it
        was named for the load. Raises StorageError."""
        parent = home.path[-1]
        messages: list[Message] = []
        place = lasting_name(model)
        for row in rows:
            own = msgspec.structs.replace(record, sampling=row.sampling or record.sampling, seed=row.seed)
            messages.append(self._store.begin_reply(parent.conversation_id, parent.id, own, place))
        if len(messages) > 1:
            self._store.set_head(parent.conversation_id, messages[0].id)
            messages = [self._store.message(each.id) for each in messages]  # with their siblings counted
        return messages

    def end_rows(
        self, running: RunningReply, reason: FinishReason, error: ErrorInfo | None = None
    ) -> list[Update]:
        """Store the other rows that still run: the whole batch has ended."""
        updates: list[Update] = []
        for number, row in enumerate(running.candidates.rows, start=1):
            if row.end is None:
                end = RowFinished(running.request.id, number, reason, GenerationStats(), error=error)
                updates += self.end_row(running, row, end)
        return updates

    def end_row(self, running: RunningReply, row: CandidateRow, end: RowFinished) -> list[Update]:
        """Store one of the other rows; without a reply it is removed."""
        row.finish(end)
        if row.has_reply:
            row.message, notices = self.finish(running.home, row.ended(running.record), row.recorder)
            return notices
        try:
            self._store.remove_message(row.message.id)
        except StorageError as error:  # it stays, empty, and the next start marks it as interrupted
            return self.report_once(error.info)
        row.is_removed = True
        return []

    def tick(self, *running: RunningReply) -> list[Update]:
        """Write what is due of these. Between replies, merge the write-ahead log into the database file."""
        try:
            written = [each.checkpoint(self._store, self._clock) for each in running]
            is_written = self.retry() or any(written)
            if not running and self._store.is_log_filled:
                self._store.merge_log()
        except StorageError as error:
            return self.report_once(error.info)
        if is_written:
            self._reported_kind = ""
        notice = self._store.pop_file_notice()
        return [Notice(notice)] if notice is not None else []

    def finish(
        self, home: OpenConversation, message: Message, recorder: Recorder | None
    ) -> tuple[Message, list[Update]]:
        """Store a finished reply of `home` with its recording. If that fails, it stays on screen, the failure is reported,
        and `tick` retries."""
        notices: list[Update] = []
        recorded = recorder.unwritten() if recorder is not None else ()
        try:
            message = self._write(message, recorded)
        except StorageError as failure:
            self._unsaved[message.id] = message, recorded
            self._due = self._clock() + self._backoff_s
            notices = self.report_once(failure.info)
        else:
            _refresh(home)
        home.replace(message)
        return message, notices

    def retry(self, *, at_once: bool = False) -> bool:
        """Write replies that could not be stored, if an attempt is due. Returns whether any was written.

        Raises:
            StorageError: a reply still cannot be written.
        """
        if not self._unsaved or (self._clock() < self._due and not at_once):
            return False
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        self._due = self._clock() + self._backoff_s
        for message, recorded in list(self._unsaved.values()):
            self._write(message, recorded)
            del self._unsaved[message.id]
        self._backoff_s = CHECKPOINT_S
        return True

    def flush(self) -> ErrorInfo | None:
        """Write replies that could not be stored, now. Returns the error if that fails again."""
        try:
            self.retry(at_once=True)
        except StorageError as error:
            message = f"A reply could not be saved; only the part that was written before is kept. {error.info.message}"
            return msgspec.structs.replace(error.info, message=message)
        return None

    def report_once(self, error: ErrorInfo) -> list[Update]:
        """Report a lasting fault once, not with each attempt."""
        if error.kind == self._reported_kind:
            return []
        self._reported_kind = error.kind
        return [Notice(error)]

    def _write(self, message: Message, recorded: Sequence[StoredPart]) -> Message:
        """One UPDATE with the whole reply. Raises StorageError."""
        assert message.reply is not None
        return self._store.finish_reply(message.id, message.content, message.status, message.reply, recorded)


def _refresh(home: OpenConversation) -> None:
    try:
        home.refresh()
    except StorageError as error:  # deleted in another window: sending the next message reports that
        log.info("the conversation could not be read again: %s", error)
