"""Unsent drafts: stored with their conversations, and kept in memory while the database cannot be written."""

from __future__ import annotations

from ttchat_tui.domain.conversation import Conversation
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.session.notices import Unsaved
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError


class Drafts:
    """Drafts by conversation id; None is a new conversation, which is not stored yet."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._unstored: dict[int | None, str] = {}
        self._fault = ""
        """The kind of the last reported error that kept a draft from being stored."""

    def of(self, conversation: Conversation | None) -> str:
        """Raises StorageError."""
        key = None if conversation is None else conversation.id
        if key in self._unstored:
            return self._unstored[key]
        return self._store.new_draft() if conversation is None else conversation.draft

    def save(self, conversation_id: int | None, text: str) -> list[Update]:
        """Store `text`. If that fails, it is kept for this session; the failure is reported once."""
        try:
            self.keep(conversation_id, text)
        except StorageError as error:
            is_known, self._fault = error.info.kind == self._fault, error.info.kind
            return [] if is_known else [Notice(error.info)]
        self._fault = ""
        return []

    def keep(self, conversation_id: int | None, text: str) -> None:
        """Store `text`, and drafts that could not be stored before.

        Raises:
            StorageError: the draft stays in memory; a later call stores it.
        """
        self._unstored[conversation_id] = text
        self._write(conversation_id)
        for each in list(self._unstored):
            try:
                self._write(each)
            except StorageError as error:
                # Deleted in another window. `of` returns the draft if the conversation is restored.
                if error.info.kind != "not_found":
                    raise

    def close(self) -> list[Unsaved]:
        """Store drafts that could not be stored before. Returns those that are lost, with the reason."""
        lost: list[Unsaved] = []
        for key, text in list(self._unstored.items()):
            try:
                self._write(key)
            except StorageError as error:
                if text.strip():
                    lost.append(Unsaved(f"{error.info.message} This was written and not sent:", text))
        return lost

    def _write(self, conversation_id: int | None) -> None:
        text = self._unstored[conversation_id]
        if conversation_id is None:
            self._store.set_new_draft(text)
        else:
            self._store.set_draft(conversation_id, text)
        del self._unstored[conversation_id]
