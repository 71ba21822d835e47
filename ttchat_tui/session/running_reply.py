"""The running reply: its text so far, how much of it is on disk, and its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.reply_settings import NO_SETTINGS, ReplySettings
from ttchat_tui.domain.sampling import TEMPLATE_FIELDS, SamplingParams
from ttchat_tui.domain.thoughts import CLOSING, OPENING, normalised
from ttchat_tui.session.candidate_rows import CandidateRow, CandidateRows
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.outgoing import Outgoing
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.reply_timing import ReplyTiming
from ttchat_tui.session.thought_meter import ThoughtMeter
from ttchat_tui.storage.conversations import ConversationStore

CHECKPOINT_S: Final = 1.0
"""The partial reply is written at least this often, in seconds: the most that a kill -9 can lose."""

LONGEST_BACKOFF_S: Final = 30.0
"""The longest wait between attempts to write to a failing database. Each attempt may wait for its lock."""


class RunningReply:
    """One reply, from its request to its final row. The session decides when it ends."""

    has_started = False
    """The engine has started it. Before that it waits, for example for a load."""
    is_copy = False
    """It continues a copy of `replaced[0]` that was made for it, and is removed if nothing is added."""
    _is_dirty = False
    """It has text that is not on disk."""
    words = ""
    """It continues these words of the user in place of `replaced`; they return to the prompt if the request is refused."""

    def __init__(
        self,
        home: OpenConversation,
        message: Message,
        outgoing: Outgoing,
        request: GenerationRequest,
        control: GenerationControl,
        timing: ReplyTiming,
        *,
        uses_defaults: bool = False,
        asked: Message | None = None,
        replaced: Sequence[Message] = (),
        settings: ReplySettings = NO_SETTINGS,
        continued: Message | None = None,
        now: float = 0.0,
        recorder: Recorder | None = None,
        others: Sequence[CandidateRow] = (),
    ) -> None:
        """
        Args:
            home: its conversation, on screen or not.
            message: the stored row, status `streaming`.
            outgoing: what `request` is made of.
            uses_defaults: the conversation has no parameters of its own, so the model's defaults apply.
            asked: the user's message that was stored with it; withdrawn if the prompt is rejected.
            replaced: what was on screen in the place of this request; shown again if this one fails.
            settings: of this reply alone, to its end.
            continued: the row before it was continued; restored if nothing is added.
            now: the session's clock, seconds.
            recorder: None: nothing is recorded.
            others: the rows of the request's candidates.
        """
        assert message.reply is not None
        self.home = home
        self.uses_defaults = uses_defaults
        self.message = message
        self._outgoing = outgoing
        self.timing = timing
        self.request = request
        self.control = control
        self.asked = asked
        self.replaced = replaced
        self.settings = settings
        self.continued = continued
        self.record: ReplyRecord = message.reply
        self.recorder = recorder
        self.candidates = CandidateRows(others)
        self.thoughts = ThoughtMeter(message.content)
        self._parts = [message.content] if message.content else []
        self._token_ids = list(self.record.token_ids)
        self.own_bias: dict[str, float] = {}
        """For the rest of this reply, over that of the conversation."""
        self.received = len(self._token_ids)
        """Tokens so far, of a continued reply with those before; chunks of a server that does not count tokens."""
        self._backoff_s = CHECKPOINT_S
        rows = 1 + len(others)
        self._due = [now + CHECKPOINT_S * (number + 1) / rows for number in range(rows)]
        """Of each row: they are written one after the other, since all together would hold up a key."""
        if continued is not None:  # it may have changed since the reply began, and since it ended
            self._begin_with(request.sampling)

    @property
    def tokens(self) -> int:
        """Number of tokens of the reply whose ids are known."""
        return len(self._token_ids)

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def completed(self, event: GenerationEvent) -> GenerationEvent:
        """`event` with what the engine does not know: the app's part of the timeline, and how many of the conversation's
        messages were not sent. The engine counts those of the prompt, where neighbours of one role are one."""
        event = self.timing.completed(event)
        match event:
            case GenerationStarted():
                dropped = self._outgoing.messages_in(event.dropped_messages)
                return msgspec.structs.replace(event, dropped_messages=dropped)
            case RowFinished() | GenerationFinished():
                dropped = self._outgoing.messages_in(event.stats.dropped_messages)
                stats = msgspec.structs.replace(event.stats, dropped_messages=dropped)
                return msgspec.structs.replace(event, stats=stats)
            case _:
                return event

    def added_nothing(self, held_back: str = "") -> bool:
        """True for a continued reply without new text, `held_back` (text that comes with the end) included."""
        return self.continued is not None and self.text == self.continued.content and not held_back

    def set_sampling(self, sampling: SamplingParams, *, waits: bool) -> None:
        """Use the user's parameters from the next token on; `waits`: for a load, so that it is the first one. What the chat
        template got stays, and so do the settings of this reply alone and a constraint that it has begun with."""
        self.uses_defaults = False
        given = {name: getattr(self.request.sampling, name) for name in TEMPLATE_FIELDS}
        bias = sampling.logit_bias
        sampling = self.settings.over(msgspec.structs.replace(sampling, **given))
        bias = {**bias, **sampling.logit_bias, **self.own_bias}
        bias = {text: amount for text, amount in bias.items() if amount}
        sampling = msgspec.structs.replace(sampling, logit_bias=bias)
        if not waits:
            sampling = msgspec.structs.replace(sampling, constraint=self.control.sampling.constraint)
        self.control.set_sampling(sampling)
        if waits:
            self._begin_with(sampling)

    @property
    def constraint(self) -> Constraint | None:
        """What its tokens of now keep to. A continued reply may have begun under another one."""
        own = self.record.sampling if self.continued is None else self.request.sampling
        return own.constraint if own is not None else None

    def adopt_defaults(self, sampling: SamplingParams) -> None:
        """The model is loaded for which it waited: without parameters of its own it uses these from the beginning. The
        constraint stays: the engine may have begun with it already."""
        if self.uses_defaults and not self.has_started:
            sampling = msgspec.structs.replace(sampling, constraint=self.control.sampling.constraint)
            sampling = self.settings.over(sampling)
            self.control.set_sampling(sampling)
            self._begin_with(sampling)

    def _begin_with(self, sampling: SamplingParams) -> None:
        """What the engine has not started yet will be drawn with `sampling`."""
        if self.continued is None:
            self.record = msgspec.structs.replace(self.record, sampling=sampling)
        elif self.recorder is not None:  # the record has those of its beginning
            self.recorder.begin_with(sampling)

    def add(self, event: TokenEvent) -> None:
        if event.replaces is not None:
            text = self.text
            self._parts = [text[: len(text) - event.replaces]]
            self._token_ids.pop()
        if event.ends_thought and self.continued is not None:  # it has no place in the middle of an answer
            self._parts = [self.continued.content]
            self.thoughts.begin_again(self.continued.content)
            answer = event.text.partition(CLOSING.lstrip())[2].lstrip("\n")
            event = msgspec.structs.replace(event, text=answer, ends_thought=False)
        elif event.ends_thought:
            self._parts.insert(0, OPENING)
        if event.first_sampling is not None and not self._token_ids and self.continued is None:
            self.record = msgspec.structs.replace(self.record, sampling=event.first_sampling)
        self.thoughts.add(event)
        self._parts.append(event.text)
        self._token_ids.extend(event.token_ids)
        self.received += len(event.times_s) - (event.replaces is not None)
        if self.recorder is not None:
            self.recorder.add(event)
        self._is_dirty = True

    def add_held_back(self, text: str) -> None:
        """Add text that came with the end."""
        self._parts.append(text)

    def checkpoint(self, store: ConversationStore, clock: Callable[[], float]) -> bool:
        """Write new text of the rows whose checkpoint is due: while the reply is paused, at once. Returns whether any was
        written.

        Raises:
            StorageError: it could not be written; the wait before each further attempt doubles.
        """
        is_at_rest, now = self.control.is_paused and self._backoff_s == CHECKPOINT_S, clock()
        dirty = [self._is_dirty, *(row.is_dirty for row in self.candidates.rows)]
        written = [row for row, due in enumerate(self._due) if dirty[row] and (now >= due or is_at_rest)]
        if not written:
            return False
        self._backoff_s = min(2 * self._backoff_s, LONGEST_BACKOFF_S)
        is_stored = False
        try:
            for row in written:
                self.candidates[row].checkpoint(store) if row else self._write(store)
            self._backoff_s, is_stored = CHECKPOINT_S, True
        finally:
            # After the attempt, which may have waited for a lock. One that failed would fail for all rows.
            for row in written if is_stored else range(len(self._due)):
                self._due[row] = clock() + self._backoff_s
        return True

    def _write(self, store: ConversationStore) -> None:
        recorded = self.recorder.unwritten() if self.recorder is not None else ()
        store.checkpoint(self.message.id, self.text, tuple(self._token_ids), recorded)
        if self.recorder is not None:
            self.recorder.note_written()
        self._is_dirty = False

    def forget(self) -> None:
        """No token of this request is part of the reply, which it continued without adding text."""
        before = self.continued.reply if self.continued is not None else None
        self._token_ids = list(before.token_ids) if before is not None else []
        if self.recorder is not None:
            self.recorder.forget()

    def so_far(self) -> Message:
        """The row with all text so far, which may be more than is on disk."""
        record = msgspec.structs.replace(self.record, stats=None)
        return msgspec.structs.replace(self.message, content=self.text, reply=record)

    def ended(self, status: MessageStatus, record: ReplyRecord) -> Message:
        """The final row."""
        stats = record.stats
        if stats is not None and (thoughts := self.thoughts.figures):
            stats = msgspec.structs.replace(stats, thoughts=thoughts)
        if stats is not None and self.recorder is not None and not self.added_nothing():
            stats = self.recorder.counted_in(stats)
        record = msgspec.structs.replace(record, token_ids=tuple(self._token_ids), stats=stats)
        return msgspec.structs.replace(
            self.message, content=normalised(self.text), status=status, reply=record
        )
