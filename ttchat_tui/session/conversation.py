"""A conversation that is worked in: its path through the tree, and the settings that belong to it.

One is on screen. Another one may have the reply that runs, and others messages that wait for their turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import extract_answer
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

NAME_LENGTH: Final = 40


class OpenConversation:
    """A stored conversation, or (conversation None) one that is stored with its first message."""

    def __init__(self, store: ConversationStore, default_system_prompt: str) -> None:
        self._store = store
        self.conversation: Conversation | None = None
        self.path: list[Message] = []
        """From the first message to the last on screen."""
        self.sampling: SamplingParams | None = None
        """None until the user changes something: then the defaults hold."""
        self.system_prompt = default_system_prompt

    @property
    def last_reply(self) -> Message | None:
        return next((message for message in reversed(self.path) if message.role == "assistant"), None)

    @property
    def id(self) -> int | None:
        return self.conversation.id if self.conversation is not None else None

    @property
    def name(self) -> str:
        """As `name_of`; `a new conversation` before its first message."""
        return name_of(self.conversation) if self.conversation is not None else "a new conversation"

    def show(self, conversation: Conversation, path: Sequence[Message]) -> None:
        self.conversation, self.path = conversation, list(path)
        self.sampling, self.system_prompt = conversation.sampling, conversation.system_prompt

    def set_sampling(self, sampling: SamplingParams) -> None:
        """Raises StorageError: it holds for this session, but could not be kept."""
        self.sampling = sampling
        self._store_settings()

    def set_system_prompt(self, text: str) -> None:
        """Raises StorageError: it holds for this session, but could not be kept."""
        self.system_prompt = text
        self._store_settings()

    def _store_settings(self) -> None:
        if self.conversation is not None:
            self._store.set_settings(
                self.conversation.id,
                system_prompt=self.system_prompt,
                sampling=self.sampling,
                model=self.conversation.model,
            )

    def add_user_message(self, text: str, model: str) -> Message:
        """Store a message at the end of the path; with the first one, the conversation. Raises StorageError, and then
        nothing has changed."""
        is_new = self.conversation is None
        if self.conversation is None:
            self.conversation = self._store.create_conversation(
                model=model, system_prompt=self.system_prompt, sampling=self.sampling
            )
        parent_id = self.path[-1].id if self.path else None
        try:
            message = self._store.add_user_message(self.conversation.id, parent_id, text)
        except StorageError:
            if is_new:
                self.drop(set())
            raise
        self.path.append(message)
        if parent_id is None:
            with suppress(
                StorageError
            ):  # it has its title now, by which a file is named; without, its number serves
                self.refresh()
        return message

    def replace(self, message: Message) -> None:
        """Take over a newer version of a message of the path."""
        self.path = [message if known.id == message.id else known for known in self.path]

    def drop(self, ids: set[int]) -> None:
        """Take messages out that are no longer stored. A conversation that has none left is again one that is stored
        with its first message: nobody would find it, or its draft, in a list."""
        self.path = [message for message in self.path if message.id not in ids]
        if self.conversation is None or self.path:
            return
        with suppress(StorageError):  # it stays then, empty, and nothing is to be kept with it
            if not self._store.discard(self.conversation.id):
                return
        self.conversation = None

    def refresh(self) -> None:
        """Read the conversation's own row again: a reply changes its model and time. Raises StorageError."""
        if self.conversation is not None:
            self.conversation = self._store.conversation(self.conversation.id)

    def prompt(self, draft: str = "") -> tuple[ChatMessage, ...]:
        """What a model gets: the system prompt, the path without thoughts and empty messages, then `draft`. A reply at
        the end is one that is continued, and stays whole."""
        last = self.path[-1] if self.path and not draft.strip() else None
        messages = [
            ChatMessage(message.role, content)
            for message in self.path
            if (content := message.content if message is last else _said(message)).strip()
        ]
        if self.system_prompt.strip():
            messages.insert(0, ChatMessage("system", self.system_prompt))
        if draft.strip():
            messages.append(ChatMessage("user", draft))
        return join_turns(messages)


def _said(message: Message) -> str:
    return extract_answer(message.content) if message.role == "assistant" else message.content


def name_of(conversation: Conversation) -> str:
    """As a sentence calls it: `“Clock repair”`."""
    title = conversation.title or "Untitled"
    return f"“{title if len(title) <= NAME_LENGTH else title[: NAME_LENGTH - 1].rstrip() + '…'}”"


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
