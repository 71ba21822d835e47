"""This window's unsent drafts and edits: stored for their conversations, and kept in memory while the database cannot be written."""

from __future__ import annotations

from ttchat_tui.domain.conversation import Draft, Edit
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.session.notices import Unsaved
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError


class Drafts:
    """Drafts by conversation id; None is a new conversation, which is not stored yet."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._unstored: dict[int | None, Draft] = {}
        self._has_begun = False
        """The new conversation was shown: one that is begun now is empty."""
        self._fault = ""
        """The kind of the last reported error that kept a draft from being stored."""

    def of(self, conversation_id: int | None) -> Draft:
        """This window's draft there, with the edit that was not sent; else one that a window left which has ended. Raises
        StorageError."""
        if conversation_id in self._unstored:
            return self._unstored[conversation_id]
        if conversation_id is not None:
            return self._store.drafts.of(conversation_id)
        is_first, self._has_begun = not self._has_begun, True
        return self._store.drafts.of(None, adopts=is_first)

    def save(self, conversation_id: int | None, text: str, edit: Edit | None) -> list[Update]:
        """Store both. If that fails, they are kept for this session; the failure is reported once."""
        try:
            self.keep(conversation_id, text, edit)
        except StorageError as error:
            is_known, self._fault = error.info.kind == self._fault, error.info.kind
            return [] if is_known else [Notice(error.info)]
        self._fault = ""
        return []

    def keep(self, conversation_id: int | None, text: str, edit: Edit | None = None) -> None:
        """Store `text` and `edit`, and drafts that could not be stored before.

        Raises:
            StorageError: the draft stays in memory; a later call stores it.
        """
        self._unstored[conversation_id] = Draft(text, edit)
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
        for key, draft in list(self._unstored.items()):
            try:
                self._write(key)
            except StorageError as error:
                unsent = filter(str.strip, (draft.text, "" if draft.edit is None else draft.edit.text))
                lost += [
                    Unsaved(f"{error.info.sentence} This was written and not sent:", each) for each in unsent
                ]
        return lost

    def _write(self, conversation_id: int | None) -> None:
        draft = self._unstored[conversation_id]
        self._store.drafts.set(conversation_id, draft.text, draft.edit)
        del self._unstored[conversation_id]
