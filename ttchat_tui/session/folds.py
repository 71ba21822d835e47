"""Where long pastes are folded in unsent drafts, so that they are after a restart."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

log = logging.getLogger(__name__)

KEPT: Final = 100
"""Drafts with folds; those of older ones are shown unfolded."""


class _DraftFolds(msgspec.Struct, frozen=True):
    draft: str
    """Digest of the text for which they are."""
    spans: list[tuple[int, int]]


class Folds:
    """Part of a `ChatSession`. A fold is a span of characters of a draft. One that is lost is no fault: its text is shown."""

    def __init__(self, store: ConversationStore, home: Callable[[], OpenConversation]) -> None:
        """`home`: the conversation on screen."""
        self._store = store
        self._home = home

    def keep(self, text: str, spans: Sequence[tuple[int, int]], *, is_edit: bool = False) -> None:
        """Store the folds of the draft `text`, or of the edit in its place."""
        place = self._place(is_edit)
        try:
            known = self._read()
            before = known.pop(place, None)
            if spans:
                known[place] = _DraftFolds(_digest(text), list(spans))
            if known.get(place) != before:
                newest = dict(list(known.items())[-KEPT:])
                self._store.set_folds(msgspec.json.encode(newest).decode() if newest else "")
        except StorageError as error:  # the draft is stored with it, and reports that
            log.info("the folds of a draft could not be stored: %s", error)

    def of(self, text: str, *, is_edit: bool = False) -> list[str]:
        """The texts that were folded in the draft `text`."""
        try:
            known = self._read()
        except StorageError as error:
            log.info("the folds of a draft could not be read: %s", error)
            return []
        here, digest = self._here(is_edit), _digest(text)
        found = (
            each.spans
            for place, each in known.items()
            if f"{place} ".startswith(here) and each.draft == digest
        )
        return [text[start:end] for start, end in next(found, ())]

    def _here(self, is_edit: bool) -> str:
        """How the places of drafts, or edits, in the conversation on screen begin."""
        return f"{'edit' if is_edit else 'draft'} {self._home().id or ''} "

    def _place(self, is_edit: bool) -> str:
        """That of this process: each window has its own draft."""
        return f"{self._here(is_edit)}{os.getpid()}"

    def _read(self) -> dict[str, _DraftFolds]:
        """Raises StorageError."""
        try:
            return msgspec.json.decode(self._store.folds() or "{}", type=decodable(dict[str, _DraftFolds]))
        except (msgspec.DecodeError, RecursionError):
            return {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
