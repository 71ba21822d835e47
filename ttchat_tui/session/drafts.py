"""What stands in the prompts: stored with its conversation, and kept here while that cannot be done."""

from __future__ import annotations

from ttchat_tui.domain.conversation import Conversation
from ttchat_tui.session.notices import Unsaved
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError


class Drafts:
    """By the id of a conversation; None is a new one, which is not stored yet."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._unstored: dict[int | None, str] = {}

    def of(self, conversation: Conversation | None) -> str:
        """Raises StorageError."""
        key = None if conversation is None else conversation.id
        if key in self._unstored:
            return self._unstored[key]
        return self._store.new_draft() if conversation is None else conversation.draft

    def keep(self, conversation_id: int | None, text: str) -> None:
        """Store `text`, and what could not be stored before.

        Raises:
            StorageError: it is kept here, and stored with a later call.
        """
        self._unstored[conversation_id] = text
        self._write(conversation_id)
        for each in list(self._unstored):
            try:
                self._write(each)
            except StorageError as error:
                # Deleted in another window: `of` has it when the conversation comes back.
                if error.info.kind != "not_found":
                    raise

    def close(self) -> list[Unsaved]:
        """Store what could not be stored before; what is lost now, and why."""
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
