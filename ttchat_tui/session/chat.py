"""ChatSession: what the user does and what the engine says, turned into stored rows and updates.

The screen and the plain REPL drive the same object, on one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    EngineState,
    EngineStateChanged,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    PrefillProgress,
    PreviousModel,
    PromptCounted,
    RequestAdapted,
    Retrying,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.updates import (
    ConversationsChanged,
    DraftReturned,
    EngineChanged,
    EngineFault,
    EngineProgress,
    EngineReady,
    MessageAdded,
    MessageRemoved,
    MessageWaits,
    Notice,
    PromptCost,
    Update,
)
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.conversations import Conversations
from ttchat_tui.session.message_queue import QueuedMessage
from ttchat_tui.session.notices import (
    ASKED_IN_WORDS,
    BEFORE_WAITS,
    NO_MODEL,
    NOTHING_TO_DO,
    OFFER,
    Unsaved,
    answered_elsewhere,
    not_sent,
    runs_elsewhere,
    still_running,
)
from ttchat_tui.storage.errors import StorageError, not_found


class ChatSession(Conversations):
    """One chat: the conversation on screen, its settings, and the reply that runs (at most one), there or elsewhere."""

    def flush_unsaved(self) -> ErrorInfo | None:
        """Put on disk what could not be written when it ended, now; why it still cannot be."""
        return self._runner.flush_unsaved()

    def close(self) -> list[Unsaved]:
        """The app ends: a reply that runs ends here, with what it has.

        Reports what cannot be written even now (a reply stays as it was at the last checkpoint, the text of
        a draft is in the report), and what still waits in line.
        """
        unkept = self._runner.close()
        unsent = [not_sent(each.home.name, each.message.content) for each in self._queue]
        return [*([Unsaved(unkept.message)] if unkept is not None else []), *unsent, *self._drafts.close()]

    # --- replies

    def load(self, model: str) -> None:
        """Load another model, or the same again; the conversation stays."""
        self.model = model
        self._host.load(model)

    def submit(self, text: str, candidates: int = 1) -> list[Update]:
        """Send a message: it is on disk before anything else happens. Of several candidates the first streams as the
        reply, the others become its siblings when all have ended."""
        if self._queue.of(self._opened.id) is not None:
            return [DraftReturned(text, BEFORE_WAITS)]
        if self.is_answering:
            return [DraftReturned(text, still_running("Esc stops it; then send."))]
        if not self.has_model:
            return [DraftReturned(text, NO_MODEL)]
        behind = self.answered_elsewhere
        if behind and self._offered != (self._opened, text):
            self._offered = (self._opened, text)
            return [DraftReturned(text, answered_elsewhere(behind, OFFER))]
        self._offered = None
        is_new = self._opened.id is None
        try:
            message = self._opened.add_user_message(text, self.model)
        except StorageError as error:
            return [DraftReturned(text, error.info)]
        if is_new:
            with suppress(StorageError):  # it is stored with a later call
                self._drafts.keep(None, "")
        if behind:
            self._queue.add(QueuedMessage(self._opened, message, candidates))
            return [MessageAdded(message), MessageWaits(message, behind), ConversationsChanged()]
        began = self._runner.begin(self._opened, self.sampling, self.model, asked=message, rows=candidates)
        return [MessageAdded(message), ConversationsChanged(), *began]

    def _why_not(self, cure: str) -> ErrorInfo | None:
        """What keeps another reply from beginning in the conversation on screen; `cure` is for one that runs in it."""
        if self.is_answering:
            return still_running(cure)
        if self._queue.of(self._opened.id) is not None:
            return BEFORE_WAITS
        behind = self.answered_elsewhere
        return answered_elsewhere(behind, "Ask again when that has ended.") if behind else None

    def regenerate(self) -> list[Update]:
        """Another reply to the last user message, as a sibling: the one before stays in the tree, and on screen if
        the new one comes to nothing."""
        if why := self._why_not("Esc stops it; then ask for another one."):
            return [Notice(why)]
        before = self.path
        replaced = before[-1] if before and before[-1].role == "assistant" else None
        asked = before[:-1] if replaced else before
        if not asked:
            return [Notice(NOTHING_TO_DO)]
        self._opened.path = list(asked)
        updates = self._runner.begin(self._opened, self.sampling, self.model, replaced=replaced)
        if not self.is_busy:
            self._opened.path = before
            return updates
        return [*([MessageRemoved(replaced.id)] if replaced else []), *updates, ConversationsChanged()]

    def show_version(self, message_id: int, step: int) -> list[Update]:
        """Show the version before (-1) or after (1) a message on screen, and what follows it there, up to its newest
        leaf; nothing where there is none. Raises StorageError, also where the message has gone, and then nothing has
        changed."""
        if self.is_answering:
            return [Notice(still_running("Esc stops it; then another version can be shown."))]
        if self._queue.of(self._opened.id) is not None:
            return [Notice(BEFORE_WAITS)]
        shown = next((message for message in self.path if message.id == message_id), None)
        if shown is None:
            return []
        versions = [each.id for each in self._store.children(shown.parent_id, shown.conversation_id)]
        if shown.id not in versions:  # removed in another window
            raise not_found("This message")
        wanted = versions.index(shown.id) + step
        if not 0 <= wanted < len(versions):
            return []
        leaf = self._store.leaf_of(versions[wanted])
        conversation, path = self._store.conversation(shown.conversation_id), self._store.path(leaf.id)
        self._store.set_head(conversation.id, leaf.id)  # last: what is read after it could not be
        home = OpenConversation(self._store, self._system_prompt)
        return self._show(home, msgspec.structs.replace(conversation, head_id=leaf.id), path)

    def continue_reply(self) -> list[Update]:
        """Go on where the last reply ended: after an interruption, a stop, or `max_tokens`."""
        if why := self._why_not("Once it has ended /continue resumes it."):
            return [Notice(why)]
        if not self.path or self.path[-1].role != "assistant":
            return [Notice(NOTHING_TO_DO)]
        last = self.path[-1]
        if not last.content:
            return self.regenerate()
        is_exact = self.info is None or self.info.capabilities.continues
        return [
            *([] if is_exact else [Notice(ASKED_IN_WORDS)]),
            *self._runner.continue_reply(self._opened, self.sampling),
            ConversationsChanged(),
        ]

    def interrupt(self) -> list[Update]:
        """Cancel what the user waits for: the message in line (it returns to the prompt), else the reply on screen, else a
        load. A reply elsewhere runs on, and a notice names it."""
        if taken_back := self.take_back():
            return taken_back
        if self._host.state == "loading":
            if self.is_answering:
                return self.drop_unstarted()
            self._host.cancel_load()
        elif not self.stop() and self.answered_elsewhere:
            return [Notice(runs_elsewhere(self.answered_elsewhere))]
        return []

    def stop(self) -> bool:
        """Stop the reply that runs in the conversation on screen; one elsewhere runs on. It ends within one decode step,
        and keeps what it has."""
        if self.running is None or not self.is_answering:
            return False
        self.running.control.cancel()
        return True

    def drop_unstarted(self) -> list[Update]:
        """End the reply in the conversation on screen if the engine has not begun with it (it waits for a load): nothing
        of it has come."""
        if self.running is None or self.running.has_started or not self.is_answering:
            return []
        return [*self._runner.leave(), *self._begin_next()]

    def tick(self) -> list[Update]:
        """Put on disk what is due. Called by the pump between events."""
        return self._runner.tick()

    def count(self, draft: str) -> list[Update]:
        """Ask what the conversation with `draft` would cost; `PromptCost` answers, for the newest question only."""
        messages = self._opened.prompt(draft)
        self._count_id = 0
        if self.info is None:
            return []
        if not messages:
            return [PromptCost(0, self.info.context_length, 0)]
        self._count_id = self._host.count(messages)
        return []

    # --- the engine

    def set_waker(self, wake: Callable[[], None] | None) -> None:
        """Call `wake`, on any thread, when there are new events or something to write; None: no more."""
        self._host.set_waker(wake)
        self._store.set_waker(wake or (lambda: None))

    def events(self) -> list[EngineEvent]:
        """What the engine has reported since the last call. Each is for `apply`."""
        return self._host.drain()

    @property
    def engine_state(self) -> EngineState:
        """Now; events that say so may still be on their way."""
        return self._host.state

    @property
    def is_engine_alive(self) -> bool:
        """False once the engine's thread has ended: no event comes any more."""
        return self._host.is_alive

    def engine_memory_bytes(self) -> int | None:
        """Resident memory of the engine's process; None if it is not known."""
        return self._host.memory_bytes()

    def cancel_load(self) -> None:
        """Cancel the load that runs, if one does."""
        self._host.cancel_load()

    def unload(self) -> None:
        """Free the model's memory; a reply that runs ends with what it has."""
        self._host.unload()

    def apply(self, event: EngineEvent) -> list[Update]:
        """Take one engine event: keep what it brings, and say what changed. Events of stale requests are dropped."""
        match event:
            case EngineStateChanged(state, detail):
                if state == "loading":
                    self._loading_model = detail
                return [EngineChanged(state, detail)]
            case LoadProgress():
                return [EngineProgress(event)]
            case EngineLoaded(info):
                self.loaded_model = self._loading_model
                self._runner.adopt_defaults(self.default_sampling)
                return [EngineReady(info), *self._begin_next()]
            case EngineFailed(error, before):
                return [self._load_failed(error, before)]
            case PromptCounted():
                if event.count_id != self._count_id:
                    return []
                return [
                    PromptCost(
                        event.prompt_tokens, event.context_length, event.dropped_messages, event.is_estimate
                    )
                ]
            case (
                GenerationStarted()
                | PrefillProgress()
                | Retrying()
                | RequestAdapted()
                | TokenEvent()
                | RowFinished()
                | GenerationFinished()
            ):
                return self._marked([*self._runner.apply(event), *self._begin_next()])
            case _:
                assert_never(event)

    def _load_failed(self, error: ErrorInfo, before: PreviousModel) -> Update:
        """What was loaded before and is to stay is again what `load` of the same would load; unless something else was
        asked for meanwhile, which comes in its place."""
        is_cancelled = error.kind == "load_cancelled"
        if before == "none":
            return Notice(error) if is_cancelled else EngineFault(error)
        if self._loading_model != self.model:
            return Notice(error)
        self.model = self.loaded_model
        stays = "stays loaded" if before == "kept" else "is loaded again"
        message = f"{error.message} {self.model} {stays}."
        return Notice(msgspec.structs.replace(error, message=message))
