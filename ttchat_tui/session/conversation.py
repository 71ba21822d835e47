"""A conversation in memory: its path through the message tree, and its settings.

One is on screen. Another may have the running reply.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress

from msgspec import structs

from ttchat_tui.domain.conversation import Conversation, ListedConversation, Message
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import extract_answer
from ttchat_tui.domain.updates import (
    BranchShown,
    ContextChanged,
    MessageAdded,
    MessageChanged,
    ReplyFollowed,
    Update,
)
from ttchat_tui.session.message_queue import MessageQueue
from ttchat_tui.session.notices import quoted
from ttchat_tui.session.outgoing import Outgoing, outgoing
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import MessagePath
from ttchat_tui.storage.titles import beginning_of


class OpenConversation:
    """A stored conversation, or a new one (`conversation` is None), which is stored with its first message."""

    def __init__(self, store: ConversationStore, default_system_prompt: str) -> None:
        self._store = store
        self.conversation: Conversation | None = None
        self.path = store.no_path()
        """The messages on screen, first to last."""
        self.sampling: SamplingParams | None = None
        """None until the user changes a parameter; until then the defaults apply."""
        self.system_prompt = default_system_prompt
        self._made: tuple[tuple[str, bool, bool], list[Message], Outgoing] | None = None
        """The last prompt without its draft, and what it was made of."""

    @property
    def last_reply(self) -> Message | None:
        return next((message for message in reversed(self.path) if message.role == "assistant"), None)

    @property
    def id(self) -> int | None:
        return self.conversation.id if self.conversation is not None else None

    @property
    def name(self) -> str:
        """See `name_of`; `a new conversation` before its first message."""
        return name_of(self.conversation) if self.conversation is not None else "a new conversation"

    def show(self, conversation: Conversation, path: MessagePath) -> None:
        self.conversation, self.path = conversation, path
        self.sampling, self.system_prompt = conversation.sampling, conversation.system_prompt

    def set_sampling(self, sampling: SamplingParams | None) -> None:
        """Raises StorageError: the change applies to this session only."""
        self.sampling = sampling
        if self.conversation is not None:
            self._store.set_sampling(self.conversation.id, sampling)

    def set_system_prompt(self, text: str) -> None:
        """Raises StorageError: the change applies to this session only."""
        self.system_prompt = text
        if self.conversation is not None:
            self._store.set_system_prompt(self.conversation.id, text)

    def follow(self) -> list[Update]:
        """Show what another window has sent after the end of the path, and how far the reply is that it writes there; what it
        has withdrawn leaves the path. For a time when nothing runs here. Raises StorageError."""
        updates = self._without_withdrawn()
        last = self.path[-1] if self.path else None
        if last is None:
            return updates
        if last.role == "assistant" and (fresh := self._fresh(last)) != last:
            self.replace(fresh)
            updates.append(ReplyFollowed(fresh))
        if self._store.children(last.id, last.conversation_id):
            known = len(self.path)
            path = self.path.switched(self._store.newest_ids(last), known)
            added = list(path[known:])  # read before anything changes
            self.path = path
            updates += [MessageChanged(last)] if last.role == "user" else []  # it is answered now
            updates += map(MessageAdded, added)
        return [*updates, ContextChanged()] if updates else updates

    def _without_withdrawn(self) -> list[Update]:
        """A request that was refused takes what it stored away from the end of the path."""
        kept = len(self.path)
        while kept and not self._store.has_message(self.path.ids[kept - 1]):
            kept -= 1
        if kept == len(self.path):
            return []
        self.path = self.path[:kept]
        return [BranchShown(kept, ())]

    def _fresh(self, known: Message) -> Message:
        """A reply as it is stored now. Its versions are counted elsewhere. One that could not be stored at its end stays as it
        is known."""
        fresh = self._store.message(known.id)
        is_unsaved = fresh.status == "streaming" != known.status
        if is_unsaved and known.conversation_id not in self._store.answered_by_others():
            return known
        return structs.replace(fresh, sibling_index=known.sibling_index, sibling_count=known.sibling_count)

    def add_user_message(self, text: str, model: str, *, queued_id: int | None = None) -> Message:
        """Store a message at the end of the path. The first message also stores the conversation. See the store for
        `queued_id`.

        Raises:
            StorageError: nothing has changed. Also if the path cannot be read, since a reply needs all of it.
        """
        self.path.read()
        with self._stored(model) as conversation:
            parent_id = self.path.ids[-1] if self.path else None
            message = self._store.add_user_message(conversation.id, parent_id, text, queued_id=queued_id)
        self.path.append(message)
        if parent_id is None:
            self._read_title()
        return message

    def queue(self, text: str, model: str, queue: MessageQueue, candidates: int) -> list[Update]:
        """Add a message to `queue`, for this conversation. The first one also stores the conversation.

        Raises:
            StorageError: nothing has changed.
        """
        with self._stored(model) as conversation:
            updates = queue.add(conversation.id, text, candidates)
        if not self.path:
            self._read_title()
        return updates

    @contextmanager
    def _stored(self, model: str) -> Generator[Conversation]:
        """The stored conversation: a new one is stored now, and removed again if the block raises StorageError."""
        is_new = self.conversation is None
        if self.conversation is None:
            self.conversation = self._store.create_conversation(
                model=model, system_prompt=self.system_prompt, sampling=self.sampling
            )
        try:
            yield self.conversation
        except StorageError:
            if is_new:
                self.drop(set())
            raise

    def _read_title(self) -> None:
        with suppress(StorageError):  # without it, exports are named by number
            self.refresh()

    def replace(self, message: Message) -> None:
        """Replace a message of the path by a newer copy of it."""
        if message.id in self.path.ids:
            self.path = self.path.with_messages(message)

    def drop(self, ids: set[int]) -> None:
        """Remove messages that are no longer stored. A conversation without messages becomes a new one again: no list
        shows it or its draft."""
        self.path = self.path.without(ids)
        if self.conversation is None or self.path:
            return
        with suppress(StorageError):  # it stays stored, empty and unlisted
            if not self._store.discard(self.conversation.id):
                return
        self.conversation = None

    def refresh(self) -> None:
        """Read the conversation's row again: a reply changes its model and time. Raises StorageError."""
        if self.conversation is not None:
            self.conversation = self._store.conversation(self.conversation.id)

    def outgoing(self, *, is_continuing: bool = False) -> Outgoing:
        """What a reply to the end of the path is sent: the system prompt and the path without empty messages. The thoughts
        of a reply that is to be continued stay in its text; those of others are apart from it."""
        return self._outgoing(has_draft=False, is_continuing=is_continuing)

    def next_prompt(self, draft: str, edited_id: int | None = None) -> Outgoing:
        """What would be sent with `draft`; after a reply also with an empty one, since a message has to come next. `edited_id`:
        the message in whose place the draft would come."""
        at = None if edited_id is None else self.path.place_of(edited_id)
        if at is not None and draft.strip():
            return outgoing(self.system_prompt, self.path[:at], has_draft=True).with_draft(draft)
        if draft.strip() or (self.path and self.path[-1].role == "assistant"):
            return self._outgoing(has_draft=True).with_draft(draft if draft.strip() else "")
        return self._outgoing(has_draft=False)

    def _outgoing(self, *, has_draft: bool, is_continuing: bool = False) -> Outgoing:
        key = (self.system_prompt, has_draft, is_continuing)
        # A draft is counted at each pause in typing; a comparison of the path's members by identity is quick.
        path = list(self.path)
        if self._made is None or self._made[0] != key or self._made[1] != path:
            made = outgoing(self.system_prompt, path, has_draft=has_draft, is_continuing=is_continuing)
            self._made = (key, path, made)
        return self._made[2]


def name_of(conversation: Conversation | ListedConversation) -> str:
    """The conversation's name in a sentence: `“Clock repair”`."""
    return quoted(conversation.title or "Untitled")


def first_words(message: str) -> str:
    """The first words of a message, for a line about it: without thoughts and Markdown, cut to the length of a title."""
    return beginning_of(extract_answer(message))
