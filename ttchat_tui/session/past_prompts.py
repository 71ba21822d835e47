"""What the user has sent before, in all conversations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.search import Answer, Search
from ttchat_tui.storage.conversations import ConversationStore

_MINE: Final = "role:user "


class PastPrompts:
    """The user's messages, to be sent again."""

    def __init__(self, store: ConversationStore, search: Callable[[], Search | None]) -> None:
        self._store = store
        self._search = search

    def recent(self) -> list[str]:
        """The last ones, oldest first. Raises StorageError."""
        return self._store.recent_prompts()

    def find(self, words: str, answer: Answer) -> bool:
        """Search all of them for `words`; see `Search.ask` for `answer`. False if there is no search, since nothing is kept on
        disk: then it is not called."""
        search = self._search()
        if search is None:
            return False
        search.ask(_MINE + words, answer)
        return True

    def forget(self, answer: Answer) -> None:
        """Call `answer` no more."""
        if (search := self._search()) is not None:
            search.forget(answer)

    def text_of(self, message_id: int) -> str:
        """The whole text of a found message. Raises StorageError."""
        return self._store.message(message_id).content
