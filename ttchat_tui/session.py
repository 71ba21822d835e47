"""ChatSession: one user's chat with one engine. Intentions and engine events in, stored rows and updates out.

No Textual here: the screen and the plain REPL drive the same object, on one thread.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Conversation, Message, MessageStatus, ReplyRecord
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
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
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
    ReplyBegan,
    ReplyEnded,
    ReplyStarted,
    ReplyStreamed,
    Update,
)
from ttchat_tui.engine.host import EngineHost
from ttchat_tui.engine.meter import Meter
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

CHECKPOINT_S = 1.0
"""The partial reply is on disk at least this often: what a kill -9 can cost at most."""

BUSY = ErrorInfo(kind="busy", message="A reply is still running.", cure="Esc stops it; then send.")
NOTHING_TO_DO = ErrorInfo(kind="nothing_to_do", message="There is no reply to work on yet.")


class RunningReply:
    """The reply that streams now: what came so far, and how to reach the engine."""

    def __init__(
        self, message: Message, sent: Message | None, request: GenerationRequest, control: GenerationControl
    ) -> None:
        assert message.reply is not None
        self.message = message
        self.sent = sent
        """The user's message that was stored with it: taken back if the prompt is refused."""
        self.request = request
        self.control = control
        self.record: ReplyRecord = message.reply
        self.parts: list[str] = [message.content] if message.content else []
        self.token_ids: list[int] = list(self.record.token_ids)
        self.is_dirty = False
        self.checkpointed_at = 0.0

    @property
    def text(self) -> str:
        return "".join(self.parts)


class ChatSession:
    """One chat: the open conversation, its settings, and the reply that runs in it (at most one)."""

    def __init__(
        self,
        store: ConversationStore,
        host: EngineHost,
        *,
        model: str,
        default_sampling: Callable[[SamplingParams | None], SamplingParams] = lambda base: (
            base or SamplingParams()
        ),
        system_prompt: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_sampling` lays the user's config over the model's recommendation (its argument)."""
        self.store = store
        self.host = host
        self.model = model
        """What the user asked for; the engine's own name for it comes with `EngineReady`."""
        self.meter = Meter()
        self.conversation: Conversation | None = None
        self.path: list[Message] = []
        self.running: RunningReply | None = None
        self._default_sampling = default_sampling
        self._default_system_prompt = system_prompt
        self._sampling: SamplingParams | None = None
        self.system_prompt = system_prompt
        self._clock = clock
        self._request_ids = itertools.count(1)
        self._count_id = 0
        self.recovered: tuple[Message, ...] = tuple(store.recover())
        """Replies that were still running when an earlier process died; kept, marked as interrupted."""

    # --- what the conversation is

    @property
    def info(self) -> EngineInfo | None:
        return self.host.info

    @property
    def is_busy(self) -> bool:
        return self.running is not None

    @property
    def sampling(self) -> SamplingParams:
        """The conversation's own parameters, or the defaults of model and config while it has none."""
        return self._sampling or self.default_sampling

    @property
    def default_sampling(self) -> SamplingParams:
        return self._default_sampling(self.info.recommended if self.info else None)

    @property
    def last_reply(self) -> Message | None:
        return next((message for message in reversed(self.path) if message.role == "assistant"), None)

    def new_conversation(self) -> list[Update]:
        """An empty conversation, stored with its first message. A running reply is stopped and kept."""
        updates = self._leave()
        self.conversation, self.path = None, []
        self._sampling, self.system_prompt = None, self._default_system_prompt
        return [*updates, ConversationOpened(None, ())]

    def open(self, conversation_id: int) -> list[Update]:
        """Show a stored conversation, with its settings.

        Raises:
            StorageError: when it cannot be read.
        """
        conversation = self.store.conversation(conversation_id)
        path = self.store.path(conversation.head_id) if conversation.head_id is not None else []
        updates = self._leave()
        self.conversation, self.path = conversation, path
        self._sampling, self.system_prompt = conversation.sampling, conversation.system_prompt
        return [*updates, ConversationOpened(conversation, tuple(path))]

    def close(self) -> None:
        """The app ends: a reply that runs ends here, with what it has. What cannot be written is left as it was at
        the last checkpoint."""
        self._leave()

    def _leave(self) -> list[Update]:
        """Before another conversation opens: the reply that runs here ends here, with what it has."""
        if self.running is None:
            return []
        running = self.running
        running.control.cancel()
        record = msgspec.structs.replace(running.record, finish_reason="cancelled", stats=self.meter.stats())
        return self._end(running, "interrupted", record)

    def set_sampling(self, sampling: SamplingParams) -> None:
        """For this conversation; a reply that streams uses them from its next token on.

        Raises:
            StorageError: they hold for this session, but could not be kept.
        """
        self._sampling = sampling
        if self.running is not None:
            self.running.control.set_sampling(sampling)
        self._store_settings()

    def set_system_prompt(self, text: str) -> list[Update]:
        """For this conversation, from the next message on.

        Raises:
            StorageError: it holds for this session, but could not be kept.
        """
        self.system_prompt = text
        self._store_settings()
        return []

    def _store_settings(self) -> None:
        if self.conversation is not None:
            self.store.set_settings(
                self.conversation.id,
                system_prompt=self.system_prompt,
                sampling=self._sampling,
                model=self.conversation.model,
            )

    # --- what the user does

    def submit(self, text: str) -> list[Update]:
        """Send a message: it is on disk before anything else happens."""
        if self.running is not None:
            return [DraftReturned(text, BUSY)]
        try:
            is_first = self.conversation is None
            conversation = self.conversation or self.store.create_conversation(
                model=self.model, system_prompt=self.system_prompt, sampling=self._sampling
            )
            parent_id = self.path[-1].id if self.path else None
            message = self.store.add_user_message(conversation.id, parent_id, text)
        except StorageError as error:
            return [DraftReturned(text, error.info)]
        self.conversation = self.store.conversation(conversation.id)
        self.path.append(message)
        updates: list[Update] = [MessageAdded(message)]
        if is_first or self.conversation.message_count == 1:
            updates.append(ConversationsChanged())
        return [*updates, *self._begin_reply(sent=message)]

    def regenerate(self) -> list[Update]:
        """Another reply to the last user message, as a sibling: the one before stays in the tree."""
        if self.running is not None:
            return [Notice(BUSY)]
        replaced = self.path[-1] if self.path and self.path[-1].role == "assistant" else None
        asked = self.path[:-1] if replaced else self.path
        if not asked:
            return [Notice(NOTHING_TO_DO)]
        before, self.path = self.path, list(asked)
        updates = self._begin_reply(sent=None)
        if self.running is None:
            self.path = before
            return updates
        return [MessageRemoved(replaced.id), *updates] if replaced else updates

    def continue_reply(self) -> list[Update]:
        """Go on where the last reply ended: after an interruption, a stop, or `max_tokens`."""
        if self.running is not None:
            return [Notice(BUSY)]
        if not self.path or self.path[-1].role != "assistant":
            return [Notice(NOTHING_TO_DO)]
        last = self.path[-1]
        if not last.content:
            return self.regenerate()
        try:
            message = self.store.resume_reply(last.id)
        except StorageError as error:
            return [Notice(error.info)]
        self.path[-1] = message
        return self._generate(message, sent=None, continue_last=True)

    def stop(self) -> bool:
        """Stop the reply that runs; it ends within one decode step, and keeps what it has."""
        if self.running is None:
            return False
        self.running.control.cancel()
        return True

    def rename(self, conversation_id: int, title: str) -> list[Update]:
        """Raises StorageError."""
        self.store.rename(conversation_id, title)
        if self.conversation is not None and self.conversation.id == conversation_id:
            self.conversation = self.store.conversation(conversation_id)
        return [ConversationsChanged()]

    def delete(self, conversation_id: int) -> list[Update]:
        """Delete, so that `undelete` can bring it back. Raises StorageError."""
        updates: list[Update] = []
        if self.conversation is not None and self.conversation.id == conversation_id:
            updates = self.new_conversation()
        self.store.delete(conversation_id)
        return [*updates, ConversationsChanged()]

    def undelete(self, conversation_id: int) -> list[Update]:
        """Raises StorageError."""
        self.store.undelete(conversation_id)
        return [*self.open(conversation_id), ConversationsChanged()]

    def save_draft(self, text: str) -> None:
        """Keep what stands in the prompt, for the open conversation. Raises StorageError."""
        if self.conversation is None:
            self.store.set_new_draft(text)
        else:
            self.store.set_draft(self.conversation.id, text)

    def count(self, draft: str) -> None:
        """Ask what the conversation with `draft` would cost; `PromptCost` answers, for the newest question only."""
        messages = self._prompt(self.path)
        if draft.strip():
            messages = join_turns([*messages, ChatMessage("user", draft)])
        if messages and self.info is not None:
            self._count_id = self.host.count(messages)

    # --- replies

    def _prompt(self, path: Sequence[Message]) -> tuple[ChatMessage, ...]:
        messages = [ChatMessage(message.role, message.content) for message in path if message.content.strip()]
        if self.system_prompt.strip():
            messages.insert(0, ChatMessage("system", self.system_prompt))
        return join_turns(messages)

    def _begin_reply(self, *, sent: Message | None) -> list[Update]:
        assert self.conversation is not None
        info = self.info
        sampling = self.sampling
        record = ReplyRecord(
            model=info.model if info else self.model,
            engine=info.label if info else "",
            sampling=sampling,
            seed=sampling.seed if sampling.seed is not None else secrets.randbits(32),
        )
        try:
            message = self.store.begin_reply(self.conversation.id, self.path[-1].id, record)
        except StorageError as error:
            return [Notice(error.info)]
        self.path.append(message)
        return self._generate(message, sent=sent, continue_last=False)

    def _generate(self, message: Message, *, sent: Message | None, continue_last: bool) -> list[Update]:
        assert message.reply is not None
        sampling = self.sampling
        request = GenerationRequest(
            id=next(self._request_ids),
            messages=self._prompt(self.path),
            sampling=sampling,
            seed=message.reply.seed,
            continue_last=continue_last,
        )
        self.meter = Meter()
        self.running = RunningReply(message, sent, request, self.host.generate(request))
        self.running.checkpointed_at = self._clock()
        return [ReplyBegan(message)]

    # --- what the engine says

    def apply(self, event: EngineEvent) -> list[Update]:
        """Take one engine event: keep what it brings, and say what changed. Events of stale requests are dropped."""
        match event:
            case EngineStateChanged(state, detail):
                return [EngineChanged(state, detail)]
            case LoadProgress():
                return [EngineProgress(event)]
            case EngineLoaded(info):
                return [EngineReady(info)]
            case EngineFailed(error):
                return [Notice(error) if error.kind == "load_cancelled" else EngineFault(error)]
            case PromptCounted():
                return self._apply_count(event)
            case GenerationStarted() | PrefillProgress() | TokenEvent() | GenerationFinished():
                running = self.running
                if running is None or event.request_id != running.request.id:
                    return []
                self.meter.observe(event)
                return self._apply_to_reply(running, event)
            case _:
                assert_never(event)

    def _apply_count(self, event: PromptCounted) -> list[Update]:
        if event.count_id != self._count_id:
            return []
        return [PromptCost(event.prompt_tokens, event.context_length, event.dropped_messages)]

    def _apply_to_reply(
        self,
        running: RunningReply,
        event: GenerationStarted | PrefillProgress | TokenEvent | GenerationFinished,
    ) -> list[Update]:
        match event:
            case GenerationStarted():
                self._adopt_engine(running)
                return [ReplyStarted(running.message.id, event.dropped_messages)]
            case PrefillProgress():
                return []
            case TokenEvent():
                running.parts.append(event.text)
                running.token_ids.extend(event.token_ids)
                running.is_dirty = True
                return [ReplyStreamed(running.message.id, event.text), *self.tick()]
            case GenerationFinished():
                return self._finish(running, event)

    def _adopt_engine(self, running: RunningReply) -> None:
        """A reply asked for while the model was loading learns here what really ran it."""
        if self.info is not None:
            running.record = msgspec.structs.replace(
                running.record, model=self.info.model, engine=self.info.label
            )

    def tick(self) -> list[Update]:
        """Put the partial reply on disk if a second has passed. Called with every token, and by the pump between."""
        running = self.running
        now = self._clock()
        if running is None or not running.is_dirty or now - running.checkpointed_at < CHECKPOINT_S:
            return []
        running.checkpointed_at = now
        try:
            self.store.checkpoint(running.message.id, running.text, tuple(running.token_ids))
        except StorageError as error:
            return [Notice(error.info)]
        running.is_dirty = False
        return []

    def _finish(self, running: RunningReply, event: GenerationFinished) -> list[Update]:
        if event.error is not None and event.error.kind == "prompt_too_long":
            return self._refuse(running, event.error)
        updates: list[Update] = []
        if event.text:
            running.parts.append(event.text)
            updates.append(ReplyStreamed(running.message.id, event.text))
        record = msgspec.structs.replace(
            running.record,
            finish_reason=event.reason,
            stats=event.stats,
            error=event.error.message if event.error else "",
        )
        status: MessageStatus = "complete"
        if event.error is not None:
            status = "error"
        elif event.reason == "cancelled":
            status = "interrupted"
        return [*updates, *self._end(running, status, record, event.error)]

    def _end(
        self,
        running: RunningReply,
        status: MessageStatus,
        record: ReplyRecord,
        error: ErrorInfo | None = None,
    ) -> list[Update]:
        """One UPDATE with all that the reply came to. If it cannot be written, the reply stays on screen, and is said."""
        self.running = None
        record = msgspec.structs.replace(record, token_ids=tuple(running.token_ids))
        notices: list[Update] = []
        try:
            message = self.store.finish_reply(running.message.id, running.text, status, record)
        except StorageError as failure:
            notices = [Notice(failure.info)]
            message = msgspec.structs.replace(
                running.message, content=running.text, status=status, reply=record
            )
        self.path = [message if known.id == message.id else known for known in self.path]
        return [ReplyEnded(message, error), ConversationsChanged(), *notices]

    def _refuse(self, running: RunningReply, error: ErrorInfo) -> list[Update]:
        """Nothing was generated: take reply and message out again, and give the text back."""
        self.running = None
        removed = [message for message in (running.message, running.sent) if message is not None]
        text = running.sent.content if running.sent else ""
        try:
            for message in removed:
                self.store.remove_message(message.id)
        except StorageError as failure:
            return [Notice(failure.info), DraftReturned(text, error)]
        gone = {message.id for message in removed}
        self.path = [message for message in self.path if message.id not in gone]
        updates: list[Update] = [MessageRemoved(message.id) for message in removed]
        return [*updates, DraftReturned(text, error), ConversationsChanged()]


def join_turns(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Merge neighbours of one role: a turn whose reply stayed empty leaves two user messages in a row, which many
    chat templates refuse."""
    joined: list[ChatMessage] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = ChatMessage(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return tuple(joined)
