"""The facade of a chat: turns user actions and engine events into stored rows and updates.

The screen and the plain REPL drive the same object, on one thread.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Final

import msgspec

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    EngineState,
    EngineStateChanged,
    GenerationEvent,
    GenerationFinished,
    LoadProgress,
    PreviousModel,
    PromptCounted,
    SecondModelEvent,
    StepScores,
)
from ttchat_tui.domain.updates import (
    ConversationsChanged,
    DraftReturned,
    EngineChanged,
    EngineFault,
    EngineProgress,
    EngineReady,
    MessageAdded,
    Notice,
    Update,
)
from ttchat_tui.session.biasing import Biasing
from ttchat_tui.session.branching import Branching
from ttchat_tui.session.candidates import Candidates
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.conversations import Conversations
from ttchat_tui.session.folds import Folds
from ttchat_tui.session.forking import Forking
from ttchat_tui.session.notices import (
    ANSWERED_BY_OTHER,
    LOAD_AND_SEND,
    NO_MODEL,
    STILL_LOADING,
    STOP_IT_THERE,
    Unsaved,
    answered_elsewhere,
    not_kept,
    previous_again,
    runs_elsewhere,
    still_running,
    with_served_name,
)
from ttchat_tui.session.pausing import Pausing
from ttchat_tui.session.presets import Presets
from ttchat_tui.session.sampler_preview import SamplerPreview
from ttchat_tui.session.steering import Steering
from ttchat_tui.session.timelines import Timelines
from ttchat_tui.storage.errors import StorageError

log = logging.getLogger(__name__)

CANCEL_AGAIN_S: Final = 5.0
"""Two requests within this time cancel a load that nobody waits for."""


class ChatSession(Conversations):
    """One chat: the conversation on screen, its settings, and the running reply (at most one), on screen or elsewhere."""

    @cached_property
    def branching(self) -> Branching:
        """What can be done to the tree on screen."""
        return Branching(self, self._store, self._runner, lambda: self._opened, self._why_not)

    @cached_property
    def presets(self) -> Presets:
        return Presets(self, self._store, lambda: self._opened)

    @cached_property
    def folds(self) -> Folds:
        return Folds(self._store, lambda: self._opened)

    @cached_property
    def forking(self) -> Forking:
        """Other continuations of the replies on screen."""
        return Forking(self._store, self)

    @cached_property
    def timelines(self) -> Timelines:
        """Where the time of replies went."""
        return Timelines(self._store, self._runner, lambda: self._opened.id)

    @cached_property
    def candidates(self) -> Candidates:
        """Several replies to one message."""
        return Candidates(
            self, self._host, self._store, self._runner, lambda: self._opened, self._why_not, self._drafts
        )

    def _begin_next(self) -> list[Update]:
        return [*self.candidates.begin_next(), *super()._begin_next()]

    @cached_property
    def pausing(self) -> Pausing:
        return Pausing(self)

    @cached_property
    def steering(self) -> Steering:
        return Steering(lambda: self.running if self.is_answering else None, lambda: self.info)

    @cached_property
    def biasing(self) -> Biasing:
        return Biasing(self)

    @cached_property
    def preview(self) -> SamplerPreview:
        return SamplerPreview(
            self._host,
            self.recordings,
            running=lambda: self.running,
            last_reply=lambda: self.last_reply,
            on_screen=lambda message_id: self.path.message(message_id),
        )

    def flush_unsaved(self) -> ErrorInfo | None:
        """Write replies that could not be stored when they ended. Returns the error if that fails again."""
        return self._writer.flush()

    def close(self) -> list[Unsaved]:
        """End the session: a running reply is stored as far as it has come.

        Returns what cannot be kept (a reply stays as of its last checkpoint; the text of a draft is in the report). Queued
        messages wait for another window or the next start, unless nothing of this session is kept.
        """
        if self._search is not None:
            self._search.close()
        for event in self.events():  # a screen that was stuck has left some
            if isinstance(event, GenerationEvent):
                self._runner.apply(event)
                self.second.apply(event)
        self._runner.leave()
        self.second.free()
        error = self._writer.flush()
        self.queue.give_up()
        unsent = map(not_kept, self.queue.messages if self.storage_mode != "read-write" else ())
        return [*([Unsaved(error.message)] if error is not None else []), *unsent, *self._drafts.close()]

    # --- replies

    def load(self, model: str) -> list[Update]:
        """Load a model, or reload the current one. The conversation stays; no candidate of another model is begun."""
        freed = self.candidates.free_second("Another model was loaded.", are_named=True)
        self.model = model
        self._host.load(model)
        return [*freed, *self.candidates.begin_next()]

    def submit(self, text: str, candidates: int = 1, *, may_wait: bool = True) -> list[Update]:
        """Send a message. It is stored first: in its conversation, or in the queue while a reply runs, others wait, or another
        window answers there (unless it `may_wait`, it then returns, kind `reply_busy`). With several candidates, the first
        streams as the reply, and the others become its siblings when all have ended. If no model is loaded, it waits for the
        load of the current one; after a failure only if it is sent twice."""
        if self.has_failed and self._offered != (self._opened, text):
            self._offered = (self._opened, text)
            return [DraftReturned(text, msgspec.structs.replace(NO_MODEL, cure=LOAD_AND_SEND))]
        self._offered, is_new = None, self._opened.id is None
        message, updates = None, list[Update]()
        try:
            is_answered = self._opened.id in self.other_windows.answered()
            if is_answered and not may_wait:
                return [DraftReturned(text, ANSWERED_BY_OTHER)]
            if is_answered or self.is_busy or self.queue.is_waiting:
                updates += self._opened.queue(text, self.model, self.queue, candidates)
            else:
                updates += self._opened.follow()  # else it would become a version of another window's
                message = self._opened.add_user_message(text, self.model)
                updates += [MessageAdded(message), ConversationsChanged()]
        except StorageError as error:
            return [*updates, DraftReturned(text, error.info)]
        if is_new:
            with suppress(StorageError):  # a later call stores it
                self._drafts.keep(None, "")
        self.load_if_none()
        self.context.draft = ""
        if message is None:
            return [*updates, *self._begin_next()]
        began = self._runner.begin(self._opened, self.sampling, self.model, asked=message, rows=candidates)
        return [*updates, *began]

    def _why_not(self, cure: str) -> ErrorInfo | None:
        """Why no reply can start in the conversation on screen, or None. `cure` applies if one runs there already."""
        if self.is_answering:
            return still_running(cure)
        if self.has_failed:
            return NO_MODEL
        if self._opened.id in self.other_windows.answered():
            return ANSWERED_BY_OTHER
        behind = self.answered_elsewhere
        return answered_elsewhere(behind, "Try again when it has ended.") if behind else None

    @property
    def has_failed(self) -> bool:
        """No model is loaded because the last load failed or the engine died: the user has to decide what comes next. A second
        model may still reply."""
        return self._host.state == "failed" and not self._host.is_loading

    def load_if_none(self) -> None:
        """Load the current model after an unload or a cancelled load. The reply that is requested next waits for it."""
        if not self.has_model:
            self._host.load(self.model)

    def open_at(self, message_id: int) -> list[Update]:
        """Show the branch that has a message, with its newest continuation. While a reply runs in its conversation, the branch
        on screen there stays, and a notice says so.

        Raises:
            StorageError: the message was deleted or cannot be read; nothing has changed.
        """
        home_id = (message := self._store.message(message_id)).conversation_id
        is_open = self._opened.id == home_id
        if self.running is None or self.running.home.id != home_id:
            shown = self.path if is_open else self._store.shown_path(self._store.conversation(home_id))
            if message_id not in shown.ids:
                return self._show_branch(message)
        updates = [] if is_open else self.open(home_id)
        if message_id not in self.path.ids:
            updates.append(Notice(still_running("Press Esc to stop it, then try again.")))
        return updates

    def _show_branch(self, message: Message) -> list[Update]:
        """Show a message with its newest continuation, and keep that branch. Raises StorageError: nothing has changed."""
        if message.conversation_id == self._opened.id:
            return self.branching.show(message)
        leaf = self._store.leaf_of(message.id)
        conversation, path = self._store.conversation(message.conversation_id), self._store.path(leaf.id)
        self._store.set_head(conversation.id, leaf.id)  # last: everything has been read by now
        home = OpenConversation(self._store, self._system_prompt)
        return self._show(home, msgspec.structs.replace(conversation, head_id=leaf.id), path)

    def interrupt(self) -> list[Update]:
        """Cancel what the user waits for: the reply or the candidates on screen, else a load, if the call is repeated within
        `CANCEL_AGAIN_S`. What waits in the queue is held. A reply elsewhere continues, and a notice names its conversation.
        Last, a running side request."""
        held = self.queue.hold()
        if self.candidates.is_awaiting_load:
            return [*held, *self.candidates.stop(*self.candidates.lanes)]
        if self._host.is_loading:
            return [*held, *(self.drop_unstarted() if self.is_answering else self._cancel_load_if_repeated())]
        if self.stop():
            return held
        if self.answered_elsewhere:
            return [*held, Notice(runs_elsewhere(self.answered_elsewhere))]
        aside = self.side_requests.running
        if aside is None and self.other_windows.is_answering and not held:
            return [Notice(STOP_IT_THERE)]
        return [*held, *(self.side_requests.cancel(aside) if aside is not None else [])]

    def _cancel_load_if_repeated(self) -> list[Update]:
        is_repeated = self._clock() - self._cancel_offered_s <= CANCEL_AGAIN_S
        self._cancel_offered_s = -math.inf if is_repeated else self._clock()
        if is_repeated:
            self._host.cancel_load()
        return [] if is_repeated else [Notice(STILL_LOADING)]

    def stop(self) -> bool:
        """Stop the reply on screen; a reply elsewhere continues. It ends within one decode step and keeps its text."""
        if not self.is_answering:
            return False
        self.candidates.give_up("It was not begun.")
        if self.running is not None:
            self.running.control.cancel()
        self.second.stop()
        return True

    def drop_unstarted(self) -> list[Update]:
        """End the reply on screen that waits for a load: it stays, empty and interrupted, and can be asked again."""
        if self.running is None or self.running.has_started or not self.is_answering:
            return []
        return [*self._runner.leave(), *self._begin_next()]

    def tick(self) -> list[Update]:
        """Write to disk what is due. The pump calls it between events."""
        self._presence.beat()
        return self._writer.tick(*self.running_replies)

    def follow(self) -> list[Update]:
        """Take note of other windows. The screen calls it every few seconds."""
        ticked = self.tick()  # what it reports, it reports once
        try:
            return [*ticked, *self.queue.follow()]
        except StorageError as error:  # what the user does with the queue reports it
            log.warning("the queue could not be read: %s", error)
            return ticked

    # --- the engine

    def set_waker(self, wake: Callable[[], None] | None) -> None:
        """Call `wake`, on any thread, when there are new events or something to write; None: no more."""
        self._host.set_waker(wake)
        self.second.set_waker(wake)
        self._store.set_waker(wake or (lambda: None))

    def events(self) -> list[EngineEvent]:
        """What the engine has reported since the last call. Each is for `apply`."""
        return [*self._host.drain(), *self.second.events()]

    @property
    def engine_state(self) -> EngineState:
        """The engine's state now; the events that report it may still be in the queue."""
        return self._host.state

    @property
    def is_engine_alive(self) -> bool:
        """False once the engine's thread has ended: no event comes any more."""
        return self._host.is_alive

    def engine_memory_bytes(self) -> int | None:
        """Resident memory of the engine's process; None if it is not known."""
        return self._host.memory_bytes()

    def cancel_load(self) -> None:
        """Cancel the running load, if there is one."""
        self._host.cancel_load()

    def unload(self) -> list[Update]:
        """Free the memory of all models. A running reply ends with the text it has."""
        freed = self.candidates.free_second("The model was unloaded.")
        self._host.unload()
        return [*freed, *self.candidates.begin_next()]

    def apply(self, event: EngineEvent) -> list[Update]:
        """Apply one engine event and return what has changed. Events of stale requests are dropped."""
        match event:
            case EngineStateChanged(state, detail):
                if state == "loading":
                    self._loading_model = detail
                return [EngineChanged(state, detail)]
            case LoadProgress():
                return [EngineProgress(event)]
            case EngineLoaded(info):
                self.loaded_model, self.loaded_name = self._loading_model, info.model
                self.constraining.note_load()
                if self.running is not None:
                    self.running.adopt_defaults(self.default_sampling)
                return [EngineReady(info), *self._begin_next()]
            case EngineFailed(error, before):
                is_superseded = self._is_superseded(error, before)
                if is_superseded and self.model == self._loading_model:
                    return []
                failed = [] if is_superseded else [self._load_failed(error, before)]
                failed += self._runner.miss(self._loading_model)
                missed = self.candidates.miss(self._loading_model, error, is_lost=before == "none")
                return [*failed, *missed, *self.side_requests.begin_next()]
            case PromptCounted():
                return self.context.apply(event)
            case StepScores():
                return self.preview.take(event)
            case SecondModelEvent(loading):
                return [*self.candidates.second.take(loading), *self._begin_next()]
            case _:
                return self._apply_generation(event)

    def _apply_generation(self, event: GenerationEvent) -> list[Update]:
        error = event.error if isinstance(event, GenerationFinished) else None
        if error is not None:
            self.constraining.note_refusal(error)
        replied, beside = self._runner.apply(event), self.second.apply(event)
        # The next one would fail too. Of a side request or a reply that was left, nothing is applied here.
        held = self.queue.hold() if error is not None and replied else []
        applied = [*replied, *self.side_requests.apply(event)]
        self.marks.note(applied)
        return [*applied, *beside, *held, *self._begin_next(), *self.titles.after(applied)]

    def _is_superseded(self, error: ErrorInfo, before: PreviousModel) -> bool:
        """Whether a load ended because another one was requested, and not by the user's cancel."""
        return error.kind == "load_cancelled" and before != "reloading" and self._host.is_loading

    def _load_failed(self, error: ErrorInfo, before: PreviousModel) -> Update:
        """After a failed load the previous model is the current one again, unless another load was requested meanwhile."""
        if error.kind == "model_unknown":
            error = with_served_name(error, self._loading_model, self._host.info)
        if before == "none" and error.kind != "load_cancelled":
            return EngineFault(error)
        if before == "none" or self._loading_model != self.model:
            return Notice(error)
        self.model = self.loaded_model
        return Notice(previous_again(error, before, self.loaded_name))
