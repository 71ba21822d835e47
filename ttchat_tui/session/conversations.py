"""The conversations of a session: the one on screen, the one with the running reply, those with queued messages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec

from ttchat_tui.domain.conversation import Conversation, Edit, ListedConversation, Message, QueuedMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import RecordLevel
from ttchat_tui.domain.sampling import SamplingParams, checked
from ttchat_tui.domain.search import Search
from ttchat_tui.domain.updates import (
    ConversationOpened,
    ConversationsChanged,
    MessageAdded,
    Notice,
    QueueChanged,
    ReplyEndedElsewhere,
    Update,
)
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.constraining import Constraining
from ttchat_tui.session.context import Context
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.drafts import Drafts
from ttchat_tui.session.marks import Marks
from ttchat_tui.session.message_queue import MessageQueue
from ttchat_tui.session.notices import held_after, not_sent
from ttchat_tui.session.organising import Organising
from ttchat_tui.session.other_windows import OtherWindows
from ttchat_tui.session.past_prompts import PastPrompts
from ttchat_tui.session.presence import Presence
from ttchat_tui.session.recordings import RecordedReplies
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.session.reply_writer import ReplyWriter
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.session.second_model import SecondModel
from ttchat_tui.session.side_request import SideRequests
from ttchat_tui.session.titles import Titles
from ttchat_tui.storage.conversations import ConversationStore, StoreMode
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import MessagePath


class Conversations:
    """What is on screen and what runs elsewhere. `ChatSession` adds what the user asks of the engine."""

    def __init__(
        self,
        store: ConversationStore,
        host: EngineHost,
        *,
        model: str,
        default_sampling: Callable[[SamplingParams], SamplingParams] = lambda recommended: recommended,
        expected_sampling: Callable[[str], SamplingParams | None] = lambda model: None,
        system_prompt: str = "",
        search: Callable[[], Search] | None = None,
        record: RecordLevel = "full",
        second_host: Callable[[], EngineHost] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`default_sampling` applies the user's config to the model's recommendation (its argument). Until the model is
        loaded, that is `expected_sampling` of its name. `search` makes the search on first use; None: there is none, since
        nothing is kept on disk. `record`: what is recorded of each token of a reply. `second_host`: see `SecondModel`."""
        self._store, self._host = store, host
        self.model = model
        """The model that was requested last; it may be loading or have failed."""
        self.loaded_model = ""
        """The name under which the current or last loaded model was requested."""
        self.loaded_name = ""
        """What that model calls itself: `remote:` asks for any model of a server."""
        store.recover()
        self._system_prompt = system_prompt
        self._opened = OpenConversation(store, system_prompt)
        self._writer = ReplyWriter(store, clock)
        self.side_requests = SideRequests(host, lambda: not self.is_busy)
        self.recordings = RecordedReplies(store, lambda: self.running_replies, record)
        runner = partial(
            ReplyRunner, store, self._writer, self.recordings, clock, lambda: self.second.models_at_once
        )
        self._runner = runner(host, lambda home: home is self._opened, self.side_requests.give_way)
        self.constraining = Constraining(
            host, lambda: self._opened, default_sampling, lambda: self.default_sampling
        )
        self.second = SecondModel(second_host, host, store, runner, self.constraining.defaults)
        self.queue = MessageQueue(store, self._begin_next, self._leave_empty)
        self._presence = Presence(
            store, clock, lambda: bool(self.queue.messages), lambda: self.running_replies
        )
        self.prompts = PastPrompts(store, lambda: self.search)
        self.organising = Organising(store, self._refresh)
        self.titles = Titles(store, self.side_requests, lambda: self._runner.last_answered, self.rename)
        self.context = Context(store, host, lambda: self._opened, self.side_requests, self.constraining)
        self._drafts = Drafts(store)
        self._clock = clock
        self.marks = Marks(lambda: self.running_replies, self.queue)
        self.other_windows = OtherWindows(
            store, lambda: self._opened, lambda: self.running_replies, self.marks, self._begin_next
        )
        self._offered: tuple[OpenConversation, str] | None = None
        self._cancel_offered_s = -math.inf
        """When the user was last offered to cancel the load."""
        self._expected_sampling = expected_sampling
        self._loading_model = model
        self._make_search = search
        self._search: Search | None = None

    # --- state

    @property
    def conversation(self) -> Conversation | None:
        """None: a new conversation, stored with its first message."""
        return self._opened.conversation

    @property
    def path(self) -> MessagePath:
        """The messages on screen, first to last."""
        return self._opened.path

    def message(self, message_id: int) -> Message:
        """A message on screen, or another stored one. Raises StorageError."""
        return self.path.message(message_id) or self._store.message(message_id)

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
        """A model is loaded or being loaded."""
        return self._host.info is not None or self._host.is_loading

    @property
    def is_cancelling_load(self) -> bool:
        """A cancelled load has not ended yet: the engine notices the cancel at its next step."""
        return self._host.state == "loading" and not self._host.is_loading

    @property
    def meter(self) -> Meter:
        """The figures of the running or the last reply."""
        return self._runner.meter

    @property
    def running(self) -> RunningReply | None:
        """The running reply of the session's own model."""
        return self._runner.running

    @property
    def running_replies(self) -> list[RunningReply]:
        """Also that of the second model."""
        return [each for each in (self._runner.running, self.second.running) if each is not None]

    @property
    def _answered(self) -> OpenConversation | None:
        """The conversation in which replies run: those of two models run in one."""
        return self._runner.running.home if self._runner.running is not None else self.second.answers

    @property
    def is_busy(self) -> bool:
        """A reply runs, on screen or elsewhere."""
        return self._answered is not None

    @property
    def is_answering(self) -> bool:
        """A reply runs in the conversation on screen."""
        return self._answered is self._opened

    @property
    def answered_elsewhere(self) -> str:
        """The name of the conversation elsewhere in which a reply runs; empty if there is none."""
        home = self._answered
        return home.name if home is not None and home is not self._opened else ""

    @property
    def has_work(self) -> bool:
        """`tick` has something to do: a reply runs, or something is not written yet."""
        return self.is_busy or self._writer.has_work

    @property
    def sampling(self) -> SamplingParams:
        """The conversation's own parameters; otherwise the defaults of model and config."""
        return self.constraining.sampling

    @property
    def recommended_sampling(self) -> SamplingParams:
        """The model's recommendation."""
        recommended = self.info.recommended if self.info else self._expected_sampling(self.model)
        return recommended or SamplingParams()

    @property
    def default_sampling(self) -> SamplingParams:
        """The recommendation with config and flags over it."""
        return self.constraining.defaults(self.recommended_sampling)

    # --- the store

    @property
    def storage_mode(self) -> StoreMode:
        """`read-write`; in `memory` everything is lost at the end, in `read-only` nothing can be stored."""
        return self._store.mode

    @property
    def storage_notice(self) -> ErrorInfo | None:
        """Why conversations are not kept; None if they are."""
        return self._store.notice

    def conversations(self) -> Sequence[ListedConversation]:
        """All stored conversations, newest first; the same object as before if nothing has changed. Raises StorageError."""
        return self._store.listed()

    @property
    def search(self) -> Search | None:
        """Search over all conversations; None if nothing is kept on disk."""
        if self._search is None and self._make_search is not None:
            self._search = self._make_search()
        return self._search

    def tree(self) -> list[Message]:
        """All messages of the conversation on screen, all versions included. Raises StorageError."""
        return self._store.tree(self.conversation.id) if self.conversation is not None else []

    # --- conversations

    def new_conversation(self) -> list[Update]:
        """Start an empty conversation, stored with its first message. A running reply continues elsewhere."""
        self._opened = OpenConversation(self._store, self._system_prompt)
        return [ConversationOpened(None, ())]

    def open(self, conversation_id: int) -> list[Update]:
        """Show a stored conversation with its settings, and with the text of its running reply so far. Raises StorageError:
        nothing has changed."""
        running = self._runner.running
        conversation = self._store.conversation(conversation_id)
        home = self._answered
        if home is None or home.id != conversation_id:
            home, running = OpenConversation(self._store, self._system_prompt), None
        path = self._store.path(running.message.id) if running else self._store.shown_path(conversation)
        return self._show(home, conversation, path)

    def _show(self, home: OpenConversation, conversation: Conversation, path: MessagePath) -> list[Update]:
        home.show(conversation, path)
        self._runner.overlay(home)
        self._opened = home
        self.marks.clear(conversation.id)
        return [ConversationOpened(conversation, home.path[:])]

    def resume(self, sampling: Mapping[str, object], system_prompt: str | None) -> list[Update]:
        """Open the latest conversation, if there is one. The settings given here override its own.

        Raises:
            StorageError: it cannot be read.
            msgspec.ValidationError: a parameter is out of range.
        """
        if (latest := self._store.latest()) is None:
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
        self.queue.refresh()
        self._refresh([conversation_id])
        return [ConversationsChanged(), QueueChanged()]

    def _refresh(self, ids: Sequence[int]) -> None:
        """Read these conversations again where they are in memory. Raises StorageError."""
        for home in {self._opened, self._answered or self._opened}:
            if home.id in ids:
                home.refresh()

    def delete(self, *ids: int) -> list[Update]:
        """Delete conversations; one `undelete` restores them. A reply that runs in one ends with the text it has, and their
        messages leave the queue. Raises StorageError: nothing is deleted."""
        self._store.delete(*ids)
        self.organising.forget_archiving()
        for each in ids:
            self.queue.leave(each)
        self.marks.clear(*ids)
        updates: list[Update] = [QueueChanged()]
        if self._answered is not None and self._answered.id in ids:
            ended = [*self._runner.leave(), *self.second.free()]
            updates += [update for update in ended if not isinstance(update, ReplyEndedElsewhere)]
        if self._opened.id in ids:
            updates += self.new_conversation()
        return [*updates, *self._begin_next(), ConversationsChanged()]

    def undelete(self) -> list[Update]:
        """Restore what was deleted last, also in an earlier session; what waited there waits again, held. Its newest conversation
        is opened, unless another one is on screen. Empty: there is nothing. Raises StorageError."""
        if not (last := self._store.last_deleted()):
            return []
        self._store.undelete(*last)
        try:
            opened = self.open(last[0]) if self._opened.id is None else []
        except StorageError as error:  # it is in the list again, even if it cannot be read
            opened = [Notice(error.info)]
        return [*opened, *self.queue.restore(), ConversationsChanged()]

    def set_sampling(self, sampling: SamplingParams) -> None:
        """Set this conversation's parameters. Running replies use them from their next token.

        Raises:
            StorageError: they apply to this session only.
        """
        self.context.begin_trial(sampling)
        for running in self.running_replies if self.is_answering else ():
            running.set_sampling(sampling, waits=self._host.is_loading)
        self._opened.set_sampling(sampling)

    def set_system_prompt(self, text: str) -> None:
        """Set this conversation's system prompt, from the next message on. Raises StorageError: it applies to this session."""
        self._opened.set_system_prompt(text)

    @property
    def draft(self) -> str:
        """The unsent draft of the conversation on screen. Raises StorageError."""
        return self._drafts.of(self._opened.id).text

    @property
    def edit_in_progress(self) -> Edit | None:
        """The unsent edit of a message of the conversation on screen. Raises StorageError."""
        return self._drafts.of(self._opened.id).edit

    def save_draft(self, text: str, edit: Edit | None = None) -> list[Update]:
        """Store draft and edit of the conversation on screen; see `Drafts.save`."""
        return self._drafts.save(self._opened.id, text, edit)

    # --- queued messages

    def _begin_next(self) -> list[Update]:
        """Send the first queued message if no reply runs and a model is loaded or being loaded.

        A message that cannot be sent is reported; those of a deleted conversation are skipped, otherwise the queue is held. One
        to a conversation in which another window answers waits. Side requests come last.
        """
        updates: list[Update] = []
        while not self.is_busy and self.has_model and self.queue.is_waiting:
            if (queued := self.queue.next(self.other_windows.answered())) is None:
                break
            updates += self._begin(queued)
        self.marks.note(updates)
        return [*updates, *self.side_requests.begin_next()]

    def _begin(self, queued: QueuedMessage) -> list[Update]:
        try:
            home = self._home_of(queued.conversation_id)
            caught_up = home.follow() if home is self._opened else []
            ended = home.path[-1].status if home.path else ""
            if queued.id in self.queue.behind_others and ended in ("interrupted", "error"):
                return [*caught_up, *self.queue.hold(queued.conversation_id), Notice(held_after(ended))]
            message = home.add_user_message(queued.content, self.model, queued_id=queued.id)
        except StorageError as error:
            left = self.queue.skip(queued) if error.info.kind == "not_found" else self.queue.hold()
            return [Notice(not_sent(queued, error.info)), *left]
        self.queue.remove(queued)
        sampling = home.sampling or self.default_sampling
        began = self._runner.begin(home, sampling, self.model, asked=message, rows=queued.candidates)
        added = [*caught_up, MessageAdded(message)] if home is self._opened else []
        held = [] if self.is_busy else self.queue.hold()
        return [*added, QueueChanged(), *began, *held, ConversationsChanged()]

    def _home_of(self, conversation_id: int) -> OpenConversation:
        """The conversation on screen, or one that is read with the branch it shows. Raises StorageError."""
        if self._opened.id == conversation_id:
            return self._opened
        conversation = self._store.conversation(conversation_id)
        home = OpenConversation(self._store, self._system_prompt)
        home.show(conversation, self._store.shown_path(conversation))
        self._runner.overlay(home)
        return home

    def _leave_empty(self, conversation_id: int) -> None:
        """A conversation that has no message any more becomes a new one if it is on screen, and is deleted otherwise."""
        if self._opened.id != conversation_id:
            with suppress(StorageError):  # it stays stored, empty and unlisted
                self._store.discard(conversation_id)
        elif not self._opened.path:
            self._opened.drop(set())
