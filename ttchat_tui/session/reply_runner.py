"""Running replies, one at a time: from the request to the final row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.errors import REFUSALS, ErrorInfo
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    RequestAdapted,
    Retrying,
    RowFinished,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import Candidate, FinishReason, GenerationRequest
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.reply_settings import NO_SETTINGS, ReplySettings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    NOTE,
    BranchShown,
    CapabilitiesChanged,
    ConversationsChanged,
    DraftReturned,
    MessageAdded,
    MessageRemoved,
    Notice,
    ReplyBegan,
    ReplyDelayed,
    ReplyEnded,
    ReplyPrefilling,
    ReplyRewritten,
    ReplyStarted,
    ReplyStreamed,
    Update,
)
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.candidate_rows import CandidateRow, draw_rows, fresh_seed
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.elsewhere import out_of_sight
from ttchat_tui.session.notices import nothing_added
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.recordings import RecordedReplies
from ttchat_tui.session.reply_writer import ReplyWriter, lasting_name
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.session.thought_meter import ThoughtMeter
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

CONNECTION_LOST = "connection_lost"
"""After an error of this kind a reply is interrupted, not failed: it can be continued."""


class ReplyRunner:
    """The running reply, if there is one."""

    def __init__(
        self,
        store: ConversationStore,
        writer: ReplyWriter,
        recordings: RecordedReplies,
        clock: Callable[[], float],
        models_at_once: Callable[[], int],
        host: EngineHost,
        is_shown: Callable[[OpenConversation], bool] = lambda home: True,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            models_at_once: as in `GenerationRequest`.
            is_shown: whether a conversation is on screen. Of others only the start and the end are reported.
            give_way: called before each reply: other work in the engine ends.
        """
        self._store = store
        self._host = host
        self._writer = writer
        self._is_shown = is_shown
        self._clock = clock
        self._give_way = give_way
        self._recordings = recordings
        self._models_at_once = models_at_once
        self.running: RunningReply | None = None
        self.last_answered: OpenConversation | None = None
        """The conversation of the running or the last reply: its prompt is in the engine's cache."""
        self.meter = Meter()

    # --- beginnings

    def begin(
        self,
        home: OpenConversation,
        sampling: SamplingParams,
        model: str,
        *,
        asked: Message | None = None,
        replaced: Sequence[Message] = (),
        settings: ReplySettings = NO_SETTINGS,
        rows: int | Sequence[Candidate] = 1,
    ) -> list[Update]:
        """Answer the last message of `home` with so many candidates, or with these. See `RunningReply` for `asked`,
        `replaced` and `settings`."""
        info, sampling = self._host.info, settings.over(sampling)
        record = ReplyRecord(
            model=info.model if info else model, engine=info.label if info else "", sampling=sampling
        )
        drawn = draw_rows(sampling, rows) if isinstance(rows, int) else rows
        try:
            home.path.read()  # before anything is stored: the prompt needs all of it
            message, *others = self._writer.begin_rows(home, drawn, record, model)
        except StorageError as error:
            return self._for_screen(home, [Notice(error.info)])
        home.path.append(message)
        return self._generate(
            home,
            message,
            drawn[0].sampling or sampling,
            self._recordings.new_recorder(None),
            asked=asked,
            replaced=replaced,
            settings=settings,
            candidates=drawn[1:],
            others=[CandidateRow(each, self._recordings.new_recorder(None)) for each in others],
        )

    def continue_reply(
        self,
        home: OpenConversation,
        sampling: SamplingParams,
        replaced: Sequence[Message] = (),
        settings: ReplySettings = NO_SETTINGS,
    ) -> list[Update]:
        """Continue the last reply of `home` where it ended. See `RunningReply` for `replaced` and `settings`."""
        try:
            home.path.read()
            self._writer.retry(at_once=True)
            last = self._store.message(home.path.ids[-1])  # another window may have continued it
            recorder = self._recordings.new_recorder(last)
            known = self._recordings.thoughts_of(last, replaced)
            message = self._store.resume_reply(last.id)
        except StorageError as error:
            return [Notice(error.info)]
        home.replace(message)
        began = self._generate(
            home, message, sampling, recorder, replaced=replaced, settings=settings, continued=last
        )
        if self.running is not None:
            self.running.thoughts = ThoughtMeter(message.content, known)
        return began

    def _generate(
        self,
        home: OpenConversation,
        message: Message,
        sampling: SamplingParams,
        recorder: Recorder | None,
        *,
        asked: Message | None = None,
        replaced: Sequence[Message] = (),
        settings: ReplySettings = NO_SETTINGS,
        continued: Message | None = None,
        candidates: Sequence[Candidate] = (),
        others: Sequence[CandidateRow] = (),
    ) -> list[Update]:
        assert message.reply is not None
        outgoing = home.outgoing(is_continuing=continued is not None)
        request = GenerationRequest(
            id=self._host.new_request_id(),
            messages=outgoing.messages,
            keep=outgoing.keep,
            sampling=settings.over(sampling),
            seed=message.reply.seed if message.reply.seed is not None else fresh_seed(),
            continue_last=continued is not None,
            written_ids=continued.reply.token_ids if continued and continued.reply else (),
            candidates=tuple(candidates),
            record=self._recordings.level,
            models_at_once=self._models_at_once(),
        )
        self.meter = Meter()
        self._give_way()
        self.last_answered = home
        self.running = RunningReply(
            home,
            message,
            outgoing,
            request,
            self._host.generate(request),
            self._recordings.new_timing(self._host.clock, lambda: self._is_shown(home)),
            uses_defaults=home.sampling is None,
            asked=asked,
            replaced=replaced,
            settings=settings,
            continued=continued,
            now=self._clock(),
            recorder=recorder,
            others=others,
        )
        return self._for_screen(home, [ReplyBegan(message)])

    def _for_screen(self, home: OpenConversation, updates: list[Update]) -> list[Update]:
        return updates if self._is_shown(home) else out_of_sight(home, updates, is_over=self.running is None)

    def overlay(self, home: OpenConversation) -> None:
        """Add text that is not on disk yet to the path of a conversation that was just read."""
        self._writer.overlay(home)
        if self.running is not None and self.running.home is home:
            home.replace(self.running.so_far())

    # --- engine events

    def apply(self, event: GenerationEvent) -> list[Update]:
        """Apply an event of the running reply. Events of abandoned requests are dropped."""
        running = self.running
        if running is None or event.request_id != running.request.id:
            return []
        return self._for_screen(running.home, self._apply_to(running, running.completed(event)))

    def _apply_to(self, running: RunningReply, event: GenerationEvent) -> list[Update]:
        self.meter.observe(event)
        if isinstance(event, GenerationFinished):  # an engine that died has no figures of its own
            event = msgspec.structs.replace(event, stats=self.meter.stats())
            running.candidates.end_first(event)
        match event:
            case GenerationStarted():
                self._start(running, event)
                return [ReplyStarted(running.message.id, event.dropped_messages)]
            case PrefillProgress():
                return [ReplyPrefilling(running.message.id, event.done, event.total)]
            case Retrying():
                when = f" in {event.wait_s:.0f} s" if event.wait_s >= 0.5 else ""
                words = f"{event.reason}: try {event.attempt} of {event.attempts}{when}"
                return [ReplyDelayed(running.message.id, words)]
            case RequestAdapted(_, notes, capabilities):
                notices = (Notice(ErrorInfo(kind=NOTE, message=note)) for note in notes)
                return [*([CapabilitiesChanged(capabilities)] if capabilities else []), *notices]
            case RowFinished(row=0):
                running.candidates.first_end = event
                return []
            case RowFinished():
                return self._writer.end_row(running, running.candidates[event.row], event)
            case StepScores():
                return []  # for the preview
            case TokenEvent() if event.row != 0:
                running.candidates[event.row].add(event)
                return self._writer.tick(running)
            case TokenEvent():
                running.add(event)
                message_id = running.message.id
                if event.ends_thought or event.replaces is not None:
                    rewritten = ReplyRewritten(message_id, running.text, running.thoughts.figures)
                    return [rewritten, *self._writer.tick(running)]
                streamed = ReplyStreamed(message_id, event.text, running.thoughts.figures)
                return [streamed, *self._writer.tick(running)]
            case GenerationFinished() if running.request.candidates:
                return self._finish_batch(running, event)
            case GenerationFinished():
                return self._finish(running, event)
            case _:
                assert_never(event)

    def _start(self, running: RunningReply, event: GenerationStarted) -> None:
        """Record the model that really runs a reply that waited for a load, and its prompt."""
        running.has_started = True
        self._recordings.take_prompt(running, event, lasting_name(self._host.loaded_model))
        if (info := self._host.info) is not None:
            running.record = msgspec.structs.replace(running.record, model=info.model, engine=info.label)

    # --- endings

    def leave(self) -> list[Update]:
        """End the running reply now with the text it has, and cancel it in the engine."""
        if self.running is None:
            return []
        running = self.running
        running.control.cancel()
        if running.added_nothing():
            return self._for_screen(running.home, self._end_as_before(running))
        others = self._writer.end_rows(running, "cancelled")
        record = msgspec.structs.replace(running.record, finish_reason="cancelled", stats=self.meter.stats())
        return self._for_screen(running.home, [*others, *self._end(running, "interrupted", record)])

    def miss(self, model: str) -> list[Update]:
        """A load of `model` has failed: the reply that asks for it is withdrawn. What was on screen before returns."""
        running = self.running
        if running is None or running.has_started or not model or running.settings.model != model:
            return []
        running.control.cancel()
        return self._for_screen(running.home, self._withdraw(running))

    def _finish(self, running: RunningReply, event: GenerationFinished) -> list[Update]:
        is_nothing = not (running.text or event.text or running.candidates.stored)
        is_refused = event.error is not None and is_nothing and event.error.kind in REFUSALS
        if event.error is not None and (is_refused or running.added_nothing(event.text)):
            return self._refuse(running, event.error)
        if running.added_nothing(event.text):
            return self._end_without_more(running, event.reason)
        is_version = bool(running.replaced) and running.asked is None
        if is_version and is_nothing and event.reason in ("cancelled", "error"):
            return [*self._withdraw(running), *([Notice(event.error)] if event.error else [])]
        updates: list[Update] = []
        if event.text:
            running.add_held_back(event.text)
            updates.append(ReplyStreamed(running.message.id, event.text, running.thoughts.figures))
        error = event.error.message if event.error else ""
        record = msgspec.structs.replace(
            running.record, finish_reason=event.reason, stats=event.stats, error=error
        )
        status: MessageStatus = "complete"
        if event.error is not None:
            status = "interrupted" if event.error.kind == CONNECTION_LOST else "error"
        elif event.reason == "cancelled":
            status = "interrupted"
        return [*updates, *self._end(running, status, record, event.error)]

    def _finish_batch(self, running: RunningReply, event: GenerationFinished) -> list[Update]:
        """End row 0 like any reply, with its own reason and figures, after those that have no end of their own."""
        updates = self._writer.end_rows(running, event.reason, event.error)
        first, siblings = running.candidates.first_end, running.candidates.stored
        assert first is not None
        own = GenerationFinished(event.request_id, first.reason, first.stats, first.text, first.error)
        for update in self._finish(running, own):
            if isinstance(update, ReplyEnded):
                update = ReplyEnded(update.message, update.error, siblings, event.stats)
            updates.append(update)
        return updates

    def _end(
        self,
        running: RunningReply,
        status: MessageStatus,
        record: ReplyRecord,
        error: ErrorInfo | None = None,
    ) -> list[Update]:
        """Store the finished reply. If that fails, it stays on screen and `tick` retries."""
        self.running = None
        message, notices = self._writer.finish(running.home, running.ended(status, record), running.recorder)
        running.timing.stored(running.home, message)
        return [ReplyEnded(message, error), ConversationsChanged(), *notices]

    def _end_as_before(self, running: RunningReply) -> list[Update]:
        """Restore a continued reply to which nothing was added: status, figures and record. A copy is removed."""
        before = running.continued
        assert before is not None
        assert before.reply is not None
        running.forget()
        return self._withdraw(running) if running.is_copy else self._end(running, before.status, before.reply)

    def _end_without_more(self, running: RunningReply, reason: FinishReason) -> list[Update]:
        """Keep a continued reply's figures where the engine generated no more text, and say so unless it was cancelled."""
        before = running.continued
        if reason == "cancelled" or before is None or before.reply is None:
            return self._end_as_before(running)
        record = msgspec.structs.replace(before.reply, finish_reason=reason, error="")
        ended = self._withdraw(running) if running.is_copy else self._end(running, "complete", record)
        return [*ended, Notice(nothing_added(reason))]

    def _refuse(self, running: RunningReply, error: ErrorInfo) -> list[Update]:
        """Undo a request for which nothing was generated, and return the text of its prompt. In a conversation that is not on
        screen the message stays, with the error under it; so does one below which others have written."""
        if running.continued is not None and not running.replaced:
            return [*self._end_as_before(running), Notice(error)]
        if running.replaced and running.asked is None and not running.words:
            return [*self._withdraw(running), Notice(error)]
        return (self._withdraw if self._is_shown(running.home) else self._fail)(running, error)

    def _fail(self, running: RunningReply, error: ErrorInfo) -> list[Update]:
        record = msgspec.structs.replace(running.record, finish_reason="error", error=error.message)
        return self._end(running, "error", record, error)

    def _withdraw(self, running: RunningReply, error: ErrorInfo | None = None) -> list[Update]:
        """Remove what this request stored, and show what it replaced again. With `error`, why it was refused, what the user wrote
        for it returns."""
        asked = [running.asked] if running.asked is not None and error is not None else []
        added = [*running.candidates.stored, running.message, *asked]
        replaced, said = running.replaced, asked[0].content if asked else running.words if error else ""
        try:
            text = self._store.withdraw(added, replaced[-1] if replaced else None, said)
        except StorageError as failure:
            is_followed = failure.info.kind == "not_a_leaf"
            return self._fail(running, error if error is not None and is_followed else failure.info)
        self.running = None
        running.home.drop({message.id for message in added})
        updates: list[Update] = [MessageRemoved(message.id) for message in added]
        if replaced:
            kept = len(running.home.path)
            running.home.path += replaced
            is_one = len(replaced) == 1
            updates.append(MessageAdded(replaced[0]) if is_one else BranchShown(kept, replaced))
        returned = [DraftReturned(text, error)] if error is not None else []
        return [*updates, ConversationsChanged(), *returned]
