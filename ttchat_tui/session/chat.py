"""ChatSession: what the user does and what the engine says, turned into stored rows and updates.

The screen and the plain REPL drive the same object, on one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    EngineStateChanged,
    ErrorInfo,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    PrefillProgress,
    PromptCounted,
    Retrying,
    RowFinished,
    TokenEvent,
    WhatWasLoaded,
)
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams, checked
from ttchat_tui.domain.updates import (
    NOTE,
    ConversationOpened,
    ConversationsChanged,
    DraftReturned,
    EngineChanged,
    EngineFault,
    EngineProgress,
    EngineReady,
    MessageAdded,
    MessageRemoved,
    Notice,
    PromptCost,
    Update,
)
from ttchat_tui.engine.host import EngineHost
from ttchat_tui.engine.meter import Meter
from ttchat_tui.session.opened import OpenConversation
from ttchat_tui.session.replies import Replies
from ttchat_tui.session.reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

NO_MODEL = ErrorInfo(
    kind="not_ready", message="No model is loaded.", cure="Load one (/reload, /model), then send."
)
ASKED_IN_WORDS = ErrorInfo(
    kind=NOTE,
    message="This server cannot go on with an unfinished reply. The model is asked in words for the rest: the seam may "
    "show.",
)
NOTHING_TO_DO = ErrorInfo(kind="nothing_to_do", message="There is no reply to work on yet.")


def _still_running(cure: str) -> ErrorInfo:
    """Why what was asked for cannot be had now; the cure depends on what it was."""
    return ErrorInfo(kind="busy", message="A reply is still running.", cure=cure)


class ChatSession:
    """One chat: the open conversation, its settings, and the reply that runs in it (at most one)."""

    def __init__(
        self,
        store: ConversationStore,
        host: EngineHost,
        *,
        model: str,
        default_sampling: Callable[[SamplingParams], SamplingParams] = lambda recommended: recommended,
        expected_sampling: Callable[[str], SamplingParams | None] = lambda model: None,
        system_prompt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_sampling` lays the user's config over the model's recommendation (its argument), which is
        `expected_sampling` of the model's name until the model is loaded."""
        self.store = store
        self.host = host
        self.model = model
        """What the user asked for last; it may be loading, or have failed."""
        self.loaded_model = ""
        """What was asked for of the model that is loaded, or was last."""
        self.recovered: tuple[Message, ...] = tuple(store.recover())
        """Replies that were still running when an earlier process died; kept, marked as interrupted."""
        self._opened = OpenConversation(store, system_prompt)
        self._replies = Replies(store, host, self._opened, clock)
        self._default_sampling = default_sampling
        self._expected_sampling = expected_sampling
        self._loading_model = model
        self._count_id = 0

    # --- what there is

    @property
    def conversation(self) -> Conversation | None:
        """None: a new one, stored with its first message."""
        return self._opened.conversation

    @property
    def path(self) -> list[Message]:
        """The messages on screen, first to last."""
        return self._opened.path

    @property
    def last_reply(self) -> Message | None:
        return self._opened.last_reply

    @property
    def system_prompt(self) -> str:
        return self._opened.system_prompt

    @property
    def info(self) -> EngineInfo | None:
        return self.host.info

    @property
    def meter(self) -> Meter:
        """The figures of the reply that runs, or ran last."""
        return self._replies.meter

    @property
    def running(self) -> RunningReply | None:
        return self._replies.running

    @property
    def is_busy(self) -> bool:
        return self._replies.running is not None

    @property
    def has_work(self) -> bool:
        """`tick` has something to do: a reply runs, or one could not be written yet."""
        return self._replies.has_work

    @property
    def sampling(self) -> SamplingParams:
        """The conversation's own parameters, or the defaults of model and config while it has none."""
        return self._opened.sampling or self.default_sampling

    @property
    def default_sampling(self) -> SamplingParams:
        recommended = self.info.recommended if self.info else self._expected_sampling(self.model)
        return self._default_sampling(recommended or SamplingParams())

    # --- conversations

    def new_conversation(self) -> list[Update]:
        """An empty conversation, stored with its first message. A running reply is stopped and kept."""
        updates = self._replies.leave()
        self._opened.clear()
        return [*updates, ConversationOpened(None, ())]

    def open(self, conversation_id: int) -> list[Update]:
        """Show a stored conversation, with its settings. Raises StorageError, and then nothing has changed."""
        conversation = self.store.conversation(conversation_id)
        path = self.store.path(conversation.head_id) if conversation.head_id is not None else []
        updates = self._replies.leave()
        if updates:  # it may be the one that was left
            path = self.store.path(conversation.head_id) if conversation.head_id is not None else []
        self._opened.show(conversation, path)
        return [*updates, ConversationOpened(conversation, tuple(path))]

    def resume(self, sampling: Mapping[str, object], system_prompt: str | None) -> list[Update]:
        """Open the latest conversation; nothing if there is none. Its own settings hold, but for those given here.

        Raises:
            StorageError: when it cannot be read.
            msgspec.ValidationError: for a parameter out of its range.
        """
        latest = self.store.latest()
        if latest is None:
            return []
        updates = self.open(latest.id)
        if sampling and self._opened.sampling is not None:
            self.set_sampling(checked(msgspec.structs.replace(self._opened.sampling, **sampling)))
        if system_prompt is not None:
            self.set_system_prompt(system_prompt)
        return updates

    def rename(self, conversation_id: int, title: str) -> list[Update]:
        """Raises StorageError."""
        self.store.rename(conversation_id, title)
        self._opened.refresh()
        return [ConversationsChanged()]

    def delete(self, conversation_id: int) -> list[Update]:
        """Delete, so that `undelete` can bring it back. Raises StorageError, and then nothing is deleted."""
        is_open = self.conversation is not None and self.conversation.id == conversation_id
        updates = self._replies.leave() if is_open else []
        self.store.delete(conversation_id)
        return [*updates, *(self.new_conversation() if is_open else []), ConversationsChanged()]

    def undelete(self, conversation_id: int) -> list[Update]:
        """Raises StorageError."""
        self.store.undelete(conversation_id)
        return [*self.open(conversation_id), ConversationsChanged()]

    def set_sampling(self, sampling: SamplingParams) -> None:
        """For this conversation; a reply that streams uses them from its next token on.

        Raises:
            StorageError: they hold for this session, but could not be kept.
        """
        if self.running is not None:
            self.running.control.set_sampling(sampling)
        self._opened.set_sampling(sampling)

    def set_system_prompt(self, text: str) -> None:
        """For this conversation, from the next message on.

        Raises:
            StorageError: it holds for this session, but could not be kept.
        """
        self._opened.set_system_prompt(text)

    def save_draft(self, text: str) -> None:
        """Keep what stands in the prompt, for the open conversation. Raises StorageError."""
        self._opened.save_draft(text)

    def settle(self) -> ErrorInfo | None:
        """Put on disk what could not be written when it ended, now; why it still cannot be."""
        return self._replies.settle()

    def close(self) -> ErrorInfo | None:
        """The app ends: a reply that runs ends here, with what it has. What cannot be written even now is left as it
        was at the last checkpoint, and why is told."""
        return self._replies.close()

    # --- replies

    def load(self, model: str) -> None:
        """Load another model, or the same again; the conversation stays."""
        self.model = model
        self.host.load(model)

    def submit(self, text: str, candidates: int = 1) -> list[Update]:
        """Send a message: it is on disk before anything else happens. Of several candidates the first streams as the
        reply, the others become its siblings when all have ended."""
        if self.is_busy:
            return [DraftReturned(text, _still_running("Esc stops it; then send."))]
        if self.host.info is None and not self.host.is_loading:
            return [DraftReturned(text, NO_MODEL)]
        is_first = not self.path
        try:
            message = self._opened.add_user_message(text, self.model)
        except StorageError as error:
            return [DraftReturned(text, error.info)]
        began = self._replies.begin(self.sampling, self.model, asked=message, rows=candidates)
        return [MessageAdded(message), *([ConversationsChanged()] if is_first else []), *began]

    def regenerate(self) -> list[Update]:
        """Another reply to the last user message, as a sibling: the one before stays in the tree, and on screen if
        the new one comes to nothing."""
        if self.is_busy:
            return [Notice(_still_running("Esc stops it; then ask for another one."))]
        before = self.path
        replaced = before[-1] if before and before[-1].role == "assistant" else None
        asked = before[:-1] if replaced else before
        if not asked:
            return [Notice(NOTHING_TO_DO)]
        self._opened.path = list(asked)
        updates = self._replies.begin(self.sampling, self.model, replaced=replaced)
        if not self.is_busy:
            self._opened.path = before
            return updates
        return [MessageRemoved(replaced.id), *updates] if replaced else updates

    def continue_reply(self) -> list[Update]:
        """Go on where the last reply ended: after an interruption, a stop, or `max_tokens`."""
        if self.is_busy:
            return [Notice(_still_running("Once it has ended /continue goes on with it."))]
        if not self.path or self.path[-1].role != "assistant":
            return [Notice(NOTHING_TO_DO)]
        last = self.path[-1]
        if not last.content:
            return self.regenerate()
        is_exact = self.info is None or self.info.capabilities.continues
        return [*([] if is_exact else [Notice(ASKED_IN_WORDS)]), *self._replies.go_on(last, self.sampling)]

    def stop(self) -> bool:
        """Stop the reply that runs; it ends within one decode step, and keeps what it has."""
        if self.running is None:
            return False
        self.running.control.cancel()
        return True

    def give_up(self) -> list[Update]:
        """End a reply that the engine has not begun with (it waits for a load): nothing of it has come."""
        if self.running is None or self.running.has_started:
            return []
        return self._replies.leave()

    def tick(self) -> list[Update]:
        """Put on disk what is due. Called by the pump between events."""
        return self._replies.tick()

    def count(self, draft: str) -> list[Update]:
        """Ask what the conversation with `draft` would cost; `PromptCost` answers, for the newest question only."""
        messages = self._opened.prompt(draft)
        self._count_id = 0
        if self.info is None:
            return []
        if not messages:
            return [PromptCost(0, self.info.context_length, 0)]
        self._count_id = self.host.count(messages)
        return []

    # --- what the engine says

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
                if self._opened.sampling is None:
                    self._replies.adopt_defaults(self.sampling)
                return [EngineReady(info)]
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
                | TokenEvent()
                | RowFinished()
                | GenerationFinished()
            ):
                return self._replies.apply(event)
            case _:
                assert_never(event)

    def _load_failed(self, error: ErrorInfo, before: WhatWasLoaded) -> Update:
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
