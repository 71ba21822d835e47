"""The conversations of a session: the one on screen, the one whose reply runs, those in which a message waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams, checked
from ttchat_tui.domain.updates import (
    ConversationOpened,
    ConversationsChanged,
    DraftReturned,
    MessageRemoved,
    MessageWaits,
    Notice,
    ReplyEndedElsewhere,
    Update,
)
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.drafts import Drafts
from ttchat_tui.session.message_queue import MessageQueue, QueuedMessage
from ttchat_tui.session.notices import TAKEN_BACK
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore, StoreMode
from ttchat_tui.storage.errors import StorageError

MOST_LISTED: Final = 10_000
"""Conversations that are listed: all of them, as far as anybody has that many."""

Mark: TypeAlias = Literal["", "running", "waiting", "finished", "failed"]
"""What the list says of a conversation: a reply runs, a message waits, a reply has ended unseen, or has failed."""


class Conversations:
    """What is on screen, and what goes on out of sight. `ChatSession` is this with what a user asks of the engine."""

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
        self._store = store
        self._host = host
        self.model = model
        """What the user asked for last; it may be loading, or have failed."""
        self.loaded_model = ""
        """What was asked for of the model that is loaded, or was last."""
        self.recovered: tuple[Message, ...] = tuple(store.recover())
        """ReplyRunner that were still running when an earlier process died; kept, marked as interrupted."""
        self._system_prompt = system_prompt
        self._opened = OpenConversation(store, system_prompt)
        self._runner = ReplyRunner(store, host, lambda home: home is self._opened, clock)
        self._queue = MessageQueue()
        self._drafts = Drafts(store)
        self._draft_fault = ""
        """The kind of what kept a draft from being stored, once it was reported."""
        self._marks: dict[int, Mark] = {}
        self._offered: tuple[OpenConversation, str] | None = None
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
        return self._host.info

    @property
    def has_model(self) -> bool:
        """A model is loaded, or on its way."""
        return self._host.info is not None or self._host.is_loading

    @property
    def meter(self) -> Meter:
        """The figures of the reply that runs, or ran last."""
        return self._runner.meter

    @property
    def running(self) -> RunningReply | None:
        return self._runner.running

    @property
    def is_busy(self) -> bool:
        """A reply runs, here or in a conversation that is not on screen."""
        return self._runner.running is not None

    @property
    def is_answering(self) -> bool:
        """A reply runs in the conversation on screen."""
        return self._runner.running is not None and self._runner.running.home is self._opened

    @property
    def answered_elsewhere(self) -> str:
        """The name of the conversation that is being answered out of sight; empty if none is."""
        running = self._runner.running
        return running.home.name if running is not None and running.home is not self._opened else ""

    def is_waiting(self, message_id: int) -> bool:
        """Whether this message of the conversation on screen waits for its turn."""
        waiting = self._queue.of(self._opened.id)
        return waiting is not None and waiting.message.id == message_id

    def mark_of(self, conversation_id: int) -> Mark:
        """What the list says of a conversation."""
        running = self._runner.running
        if running is not None and running.home.id == conversation_id:
            return "running"
        return "waiting" if self._queue.of(conversation_id) else self._marks.get(conversation_id, "")

    @property
    def has_work(self) -> bool:
        """`tick` has something to do: a reply runs, or one could not be written yet."""
        return self._runner.has_work

    @property
    def sampling(self) -> SamplingParams:
        """The conversation's own parameters, or the defaults of model and config while it has none."""
        return self._opened.sampling or self.default_sampling

    @property
    def default_sampling(self) -> SamplingParams:
        recommended = self.info.recommended if self.info else self._expected_sampling(self.model)
        return self._default_sampling(recommended or SamplingParams())

    # --- what is stored

    @property
    def storage_mode(self) -> StoreMode:
        """`read-write`; otherwise what is said here is lost at the end (`memory`), or cannot be stored (`read-only`)."""
        return self._store.mode

    @property
    def storage_notice(self) -> ErrorInfo | None:
        """Why conversations are not kept; None if they are."""
        return self._store.notice

    def conversations(self) -> list[Conversation]:
        """All stored conversations, newest first. Raises StorageError."""
        return self._store.conversations(limit=MOST_LISTED)

    def recovered_elsewhere(self) -> list[Conversation]:
        """Conversations in which a reply was running when an earlier process died; not the one on screen. Raises
        StorageError."""
        on_screen = {message.id for message in self.path}
        ids = {each.conversation_id for each in self.recovered if each.id not in on_screen}
        return [each for each in self.conversations() if each.id in ids] if ids else []

    def title_of(self, conversation_id: int) -> str:
        """The title of a stored conversation. Raises StorageError."""
        return self._store.conversation(conversation_id).title

    def recent_prompts(self) -> list[str]:
        """Messages of the user in all conversations, oldest first. Raises StorageError."""
        return self._store.recent_prompts()

    def tree(self) -> list[Message]:
        """All messages of the conversation on screen, those of its other versions too. Raises StorageError."""
        return self._store.tree(self.conversation.id) if self.conversation is not None else []

    # --- conversations

    def new_conversation(self) -> list[Update]:
        """An empty conversation, stored with its first message. A running reply goes on out of sight."""
        self._opened = OpenConversation(self._store, self._system_prompt)
        return [ConversationOpened(None, ())]

    def open(self, conversation_id: int) -> list[Update]:
        """Show a stored conversation, with its settings; its reply, if that runs, as far as it has come. Raises
        StorageError, and then nothing has changed."""
        running, waiting = self._runner.running, self._queue.of(conversation_id)
        conversation = self._store.conversation(conversation_id)
        home = OpenConversation(self._store, self._system_prompt)
        if running is not None and running.home.id == conversation_id:
            home, path = running.home, self._store.path(running.message.id)
        elif waiting is not None:
            home, path = waiting.home, self._store.path(waiting.message.id)
        else:
            path = self._store.shown_path(conversation)
        return self._show(home, conversation, path)

    def _show(
        self, home: OpenConversation, conversation: Conversation, path: Sequence[Message]
    ) -> list[Update]:
        home.show(conversation, path)
        self._runner.overlay(home)
        self._opened = home
        self._marks.pop(conversation.id, None)
        return [ConversationOpened(conversation, tuple(home.path))]

    def resume(self, sampling: Mapping[str, object], system_prompt: str | None) -> list[Update]:
        """Open the latest conversation; nothing if there is none. Its own settings hold, but for those given here.

        Raises:
            StorageError: when it cannot be read.
            msgspec.ValidationError: for a parameter out of its range.
        """
        latest = self._store.latest()
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
        self._store.rename(conversation_id, title)
        running = self._runner.running
        for home in (self._opened, running.home if running is not None else self._opened):
            if home.id == conversation_id:
                home.refresh()
        return [ConversationsChanged()]

    def delete(self, conversation_id: int) -> list[Update]:
        """Delete, so that `undelete` can bring it back; a reply that runs in it ends with what it has.

        Raises:
            StorageError: nothing is deleted.
        """
        self._store.delete(conversation_id)
        updates: list[Update] = []
        if (waiting := self._queue.of(conversation_id)) is not None:
            self._queue.remove(waiting)
        running = self._runner.running
        if running is not None and running.home.id == conversation_id:
            ended = self._runner.leave()
            updates += [update for update in ended if not isinstance(update, ReplyEndedElsewhere)]
        if self._opened.id == conversation_id:
            updates += self.new_conversation()
        self._marks.pop(conversation_id, None)
        return [*updates, *self._begin_next(), ConversationsChanged()]

    def undelete(self) -> list[Update]:
        """Bring back the conversation that was deleted last, in this session or an earlier one, and open it; the next
        time the one before. Nothing if there is none. Raises StorageError."""
        last = self._store.last_deleted()
        if last is None:
            return []
        self._store.undelete(last)
        try:
            opened = self.open(last)
        except StorageError as error:  # it is in the list again, whatever is wrong with it
            opened = [Notice(error.info)]
        return [*opened, ConversationsChanged()]

    def set_sampling(self, sampling: SamplingParams) -> None:
        """For this conversation; a reply that streams uses them from its next token on.

        Raises:
            StorageError: they hold for this session, but could not be kept.
        """
        if self.running is not None and self.is_answering:
            self.running.uses_defaults = False
            self.running.control.set_sampling(sampling)
        self._opened.set_sampling(sampling)

    def set_system_prompt(self, text: str) -> None:
        """For this conversation, from the next message on.

        Raises:
            StorageError: it holds for this session, but could not be kept.
        """
        self._opened.set_system_prompt(text)

    @property
    def draft(self) -> str:
        """What stood in the prompt of the conversation on screen. Raises StorageError."""
        return self._drafts.of(self._opened.conversation)

    def save_draft(self, text: str) -> list[Update]:
        """Keep what stands in the prompt of the conversation on screen. If it cannot be stored, which is reported once,
        it is kept for this session."""
        try:
            self._drafts.keep(self._opened.id, text)
        except StorageError as error:
            is_known, self._draft_fault = error.info.kind == self._draft_fault, error.info.kind
            return [] if is_known else [Notice(error.info)]
        self._draft_fault = ""
        return []

    # --- messages in line

    def _begin_next(self) -> list[Update]:
        """Answer the message that has waited longest, if nothing runs and there is (or will be) a model.

        One that cannot be answered is reported, and stays in its conversation: the line moves on.
        """
        updates: list[Update] = []
        while not self.is_busy and self.has_model:
            waiting = self._queue.next()
            if waiting is None:
                break
            updates += self._begin(waiting)
        return self._marked(updates)

    def _begin(self, waiting: QueuedMessage) -> list[Update]:
        home = waiting.home
        sampling = home.sampling or self.default_sampling
        rows = waiting.candidates
        began = self._runner.begin(home, sampling, self.model, asked=waiting.message, rows=rows)
        is_shown = home is self._opened
        return [*([MessageWaits(waiting.message)] if is_shown else []), *began, ConversationsChanged()]

    def take_back(self) -> list[Update]:
        """Give the message that waits in the conversation on screen back to the prompt; nothing if none waits."""
        waiting = self._queue.of(self._opened.id)
        if waiting is None:
            return []
        try:
            self._store.remove_message(waiting.message.id)
        except StorageError as error:
            return [Notice(error.info)]
        self._queue.remove(waiting)
        self._opened.drop({waiting.message.id})
        returned = DraftReturned(waiting.message.content, TAKEN_BACK)
        return [MessageRemoved(waiting.message.id), returned, ConversationsChanged()]

    def _marked(self, updates: list[Update]) -> list[Update]:
        """Keep what the list is to say of conversations that were answered out of sight."""
        for update in updates:
            if isinstance(update, ReplyEndedElsewhere):
                self._marks[update.conversation.id] = "finished" if update.status == "complete" else "failed"
        return updates
