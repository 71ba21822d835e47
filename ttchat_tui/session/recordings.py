"""What was recorded of the replies of a session, stored or still running."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import structs

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import GenerationStarted
from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.recording import (
    NOT_RECORDED,
    BatchRow,
    RecordedPrompt,
    RecordedToken,
    Recording,
    RecordLevel,
    common_prefix,
)
from ttchat_tui.domain.thought_stream import ThoughtStream
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.reply_timing import ReplyTiming
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.session.thought_meter import recorded_thoughts
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.recording_parts import joined


class _Sequence(NamedTuple):
    """The first prompt of a reply, and the reply: what the next prompt probably begins with."""

    message_id: int
    before: Sequence[int]
    """The ids before those that the recorder takes."""
    recorder: Recorder

    @property
    def ids(self) -> list[int]:
        return [*self.before, *(token.token_id for token in self.recorder.recording.written)]


class RecordedReplies:
    """Makes the recorders of new replies, and reads recordings when they are asked for."""

    def __init__(
        self, store: ConversationStore, running: Callable[[], Sequence[RunningReply]], level: RecordLevel
    ) -> None:
        self.level: RecordLevel = level
        """What is recorded of each token."""
        self._store = store
        self._running = running
        self._before: tuple[RunningReply, Recording] | None = None
        """The running reply, and what was recorded of it before it was continued."""
        self._undrawn: list[ReplyTiming] = []
        """Of the running replies, and of those whose end is not drawn yet."""
        self._latest: _Sequence | None = None
        """Of the last request."""

    def new_recorder(self, continued: Message | None) -> Recorder | None:
        """A recorder of a reply, or of the rest of one; None: nothing is recorded. Raises StorageError."""
        if self.level == "off":
            return None
        if continued is None or continued.reply is None:
            return Recorder()
        return Recorder(max(len(continued.reply.token_ids), self._store.recordings.end_of(continued.id)))

    def new_timing(self, clock: Callable[[], float], is_shown: Callable[[], bool]) -> ReplyTiming:
        """The timing of a reply that is requested now."""
        timing = ReplyTiming(clock, is_shown)
        self._undrawn.append(timing)
        return timing

    def drawn(self) -> None:
        """All that has come of any reply is on the screen."""
        for timing in self._undrawn:
            timing.drawn(self._store)
        self._undrawn = [each.timing for each in self._running()]

    def take_prompt(self, running: RunningReply, started: GenerationStarted, model: str) -> None:
        """Record the prompt of a request that has started, if its engine says what it is. `model`: see `RecordedPrompt.model`."""
        ids = started.prompt_ids
        if running.recorder is None or not ids:
            self._latest = None
            return
        # Also of a reply that was continued from nothing: the one before it is replaced.
        is_first = running.recorder.first == 0
        base_id = _reply_before(running) if is_first else running.message.id
        known = self._latest.ids if self._latest is not None and self._latest.message_id == base_id else []
        shared = common_prefix(known, ids)
        request = running.request
        first = BatchRow(request.seed, request.sampling if request.is_varied else None)
        rows = [first, *(BatchRow(each.seed, each.sampling) for each in request.candidates)]
        prompt = RecordedPrompt(
            running.recorder.first,
            shared,
            ids[shared:],
            started.cached_tokens,
            tuple(rows) if request.candidates else (),
            model=model,
        )
        running.recorder.set_prompt(prompt)
        running.candidates.set_prompt(prompt)
        before = ids if is_first else known
        self._latest = _Sequence(running.message.id, before, running.recorder) if before else None

    def of(self, message_id: int) -> Recording:
        """The recording of a reply from its first token on, also of the running one; without tokens if nothing was recorded.

        Raises:
            StorageError: it cannot be read.
        """
        return self.reader(message_id)()

    def thoughts_of(self, reply: Message, replaced: Sequence[Message]) -> Sequence[ThoughtFigures]:
        """The figures of the thoughts in a stored reply. Of one without figures of its own they are those of the same text in
        `replaced`, or what its recording says. Raises StorageError."""
        alike = [reply, *(each for each in replaced[:1] if each.content == reply.content)]
        stats = next((each.reply.stats for each in alike if each.reply and each.reply.stats), None)
        if stats is not None or not ThoughtStream(reply.content).thoughts:
            return stats.thoughts if stats is not None else ()
        return recorded_thoughts(reply.content, self.of(reply.id))

    def reader(self, message_id: int, before: int = sys.maxsize) -> Callable[[], Recording]:
        """Reads what `of` needs, and returns what makes the recording of it, on any thread. Of a stored one only the parts
        that begin before the token `before`. Raises StorageError, also the function."""
        running = next((each for each in self._running() if each.message.id == message_id), None)
        if running is None or running.recorder is None:
            stored = self._store.recordings.reader(message_id, before)
            return lambda: from_beginning(stored())
        recorder, is_known = running.recorder, self._before is not None and self._before[0] is running
        if running.continued is None:
            recording = recorder.recording
            return lambda: recording
        read = None if is_known else self._store.recordings.reader(message_id, recorder.first)

        def with_before() -> Recording:
            if read is not None:
                self._before = running, read()
            assert self._before is not None
            parts = [part for part in (self._before[1], recorder.recording) if part.tokens]
            return from_beginning(joined(parts))

        return with_before


def from_beginning(recording: Recording) -> Recording:
    """With tokens that were not recorded in the place of those before it."""
    if not recording.first or not recording.tokens:
        return recording
    before = [RecordedToken(NOT_RECORDED, 0.0)] * recording.first
    return structs.replace(recording, first=0, tokens=[*before, *recording.tokens])


def _reply_before(running: RunningReply) -> int | None:
    """The id of the reply before this one in its conversation."""
    path = running.home.path
    own = path.ids.index(running.message.id)
    return next((each.id for each in reversed(path[:own]) if each.role == "assistant"), None)
