"""Unsent drafts and edits: each window has its own in a conversation, and a later one takes over what ended windows left."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from ttchat_tui.domain.conversation import Draft, Edit, joined
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.storage.database import Database, Transaction
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.rows import storable, text_from
from ttchat_tui.storage.writers import SILENCE_S, has_writer_ended, this_process

log = logging.getLogger(__name__)

_OWN: Final = "draft "
"""The key in `app_state` of a window's draft: this, the conversation's id (0: a new one), a space, and the process, as `Writer`
encodes it."""

_FORMER: Final = "new_draft"
"""The key of a new conversation's draft in earlier versions and after a repair; the process follows, or nothing."""

_FORMER_EDIT: Final = "edit "
"""The key of the edit in a conversation, in earlier versions; the conversation's id follows."""

NEW_DRAFTS: Final = (f"{_FORMER}*", f"{_OWN}0 *")
"""Patterns of the keys of new conversations' drafts, older versions' first."""


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    at: float
    """When it was stored."""
    text: str
    edit: Edit | None = None

    @property
    def draft(self) -> Draft:
        return Draft(self.text, self.edit)


class StoredDrafts:
    """Every method may raise `StorageError`. The column `draft` of a conversation has the newest one, for earlier versions and
    for what repairs and backups keep."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def of(self, conversation_id: int | None, *, adopts: bool = True) -> Draft:
        """This process's draft in a conversation, None for a new one; else, if it `adopts`, the newest that a process left
        which has ended, and which is this one's from now on. Never that of another window."""
        drafts = self._drafts(conversation_id)
        if (own := drafts.get(this_process().encoded())) is not None:
            return own.draft
        left = self._left(conversation_id, drafts) if adopts else None
        if left is None:
            return Draft()
        try:
            is_taken = self._take(conversation_id, *left)
        except StorageError as error:  # it can be read at least; what is typed next reports the fault
            log.info("a draft could not be taken over: %s", error)
            is_taken = True
        return left[1].draft if is_taken else Draft()

    def set(self, conversation_id: int | None, text: str, edit: Edit | None = None) -> None:
        """Store this process's draft, and the edit that is in the prompt in its place."""
        with self._database.transaction() as transaction:
            self._write(transaction, conversation_id, text, edit)

    def give_back(self, transaction: Transaction, text: str, conversation_id: int, *, is_gone: bool) -> str:
        """Put a message that was not answered before this process's draft in its conversation; where that `is_gone`, in a new
        one, with both drafts. Returns the message, with the draft that was there."""
        own = self._drafts(conversation_id).get(this_process().encoded(), _Stored(0.0, ""))
        if not is_gone:
            self._write(transaction, conversation_id, joined(text, own.text), own.edit)
            return text
        new = self._drafts(None).get(this_process().encoded(), _Stored(0.0, ""))
        edited = own.edit.text if own.edit is not None else ""
        self._write(transaction, None, joined(text, new.text, own.text, edited), None)
        return joined(text, new.text)

    def _write(
        self, transaction: Transaction, conversation_id: int | None, text: str, edit: Edit | None
    ) -> None:
        key = f"{_OWN}{conversation_id or 0} {this_process().encoded()}"
        if text or edit is not None:
            edit = None if edit is None else Edit(edit.message_id, storable(edit.text))
            value = msgspec.json.encode(_Stored(self._clock(), storable(text), edit)).decode()
            transaction.execute("REPLACE INTO app_state (key, value) VALUES (?, ?)", (key, value))
        else:
            transaction.execute("DELETE FROM app_state WHERE key = ?", (key,))
        if conversation_id is None:
            return
        transaction.execute("DELETE FROM app_state WHERE key = ?", (f"{_FORMER_EDIT}{conversation_id}",))
        newest = max(self._drafts(conversation_id).values(), key=lambda each: each.at, default=None)
        transaction.change(
            "This conversation",
            "UPDATE conversations SET draft = ? WHERE id = ? AND deleted_at IS NULL",
            (newest.text if newest is not None else "", conversation_id),
        )

    def _take(self, conversation_id: int | None, key: str, left: _Stored) -> bool:
        """Make the draft at `key` this process's own; an empty key: that of an earlier version. Of several windows one gets
        it; returns whether it is this one."""
        with self._database.transaction() as transaction:
            if key:
                removed = transaction.execute("DELETE FROM app_state WHERE key = ?", (key,))
                if not removed.rowcount:
                    return False
            elif self._drafts(conversation_id):
                return False
            self._write(transaction, conversation_id, left.text, left.edit)
        return True

    def _left(self, conversation_id: int | None, drafts: Mapping[str, _Stored]) -> tuple[str, _Stored] | None:
        """The newest draft that a process left which has ended, and its key."""
        now = self._clock()
        ended = [writer for writer, draft in drafts.items() if has_writer_ended(writer, now - draft.at)]
        if ended:
            writer = max(ended, key=lambda each: drafts[each].at)
            return f"{_OWN}{conversation_id or 0} {writer}", drafts[writer]
        if conversation_id is None:
            return self._left_new()
        return None if drafts else self._former(conversation_id)

    def _left_new(self) -> tuple[str, _Stored] | None:
        """A new conversation's draft that an earlier version has left."""
        rows = self._database.rows("SELECT key, value FROM app_state WHERE key GLOB ?", f"{_FORMER}*")
        found = [(row["key"], _Stored(0.0, text_from(row["value"]))) for row in rows]
        left = [each for each in found if has_writer_ended(each[0][len(_FORMER) :], SILENCE_S + 1)]
        return left[-1] if left else None

    def _former(self, conversation_id: int) -> tuple[str, _Stored] | None:
        """What an earlier version has stored: in the column, and the edit beside it."""
        row = self._database.row("SELECT draft FROM conversations WHERE id = ?", conversation_id)
        key = f"{_FORMER_EDIT}{conversation_id}"
        edited = self._database.row("SELECT value FROM app_state WHERE key = ?", key)
        edit = _decoded(edited["value"], Edit) if edited is not None else None
        text = text_from(row["draft"]) if row is not None else ""
        return ("", _Stored(0.0, text, edit)) if text or edit is not None else None

    def _drafts(self, conversation_id: int | None) -> dict[str, _Stored]:
        """The drafts in a conversation by their process, without those that cannot be read."""
        prefix = f"{_OWN}{conversation_id or 0} "
        rows = self._database.rows("SELECT key, value FROM app_state WHERE key GLOB ?", f"{prefix}*")
        found = {text_from(row["key"])[len(prefix) :]: _decoded(row["value"], _Stored) for row in rows}
        return {writer: draft for writer, draft in found.items() if draft is not None}


_T = TypeVar("_T")


def _decoded(value: object, kind: type[_T]) -> _T | None:
    """None if it cannot be read."""
    try:
        return msgspec.json.decode(text_from(value), type=decodable(kind))
    except (msgspec.DecodeError, RecursionError):
        return None


def new_draft_from(key: object, value: object) -> str:
    """The text of a stored draft of a new conversation, of any version; empty if it cannot be read."""
    if isinstance(key, str) and key.startswith(_FORMER):
        return text_from(value)
    stored = _decoded(value, _Stored)
    return stored.text if stored is not None else ""


def purge_drafts(transaction: Transaction) -> None:
    """Remove drafts and edits in conversations that are gone."""
    gone = "DELETE FROM app_state WHERE key GLOB ? AND CAST(substr(key, ?) AS INTEGER) NOT IN (SELECT id FROM conversations UNION SELECT 0)"
    for prefix in (_OWN, _FORMER_EDIT):
        transaction.execute(gone, (f"{prefix}*", len(prefix) + 1))
