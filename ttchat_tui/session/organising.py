"""What the user does with conversations in the list: pin, tag, archive. Each call may raise StorageError; nothing has changed
then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from ttchat_tui.domain.conversation import Conversation, ListedConversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import NOTE, ConversationsChanged, Notice, Update
from ttchat_tui.session.conversation import name_of
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.listing import ReadList


class Organising:
    """Changes one conversation or several at once."""

    def __init__(self, store: ConversationStore, refresh: Callable[[Sequence[int]], None]) -> None:
        """`refresh` reads these conversations again where they are open."""
        self._store = store
        self._refresh = refresh
        self.last_archiving: tuple[bool, tuple[int, ...]] | None = None
        """What `undo_archiving` takes back: whether it archived or returned to the list, and the conversations that it
        changed."""

    def listed(self) -> Sequence[ListedConversation]:
        """All conversations, newest first; the same object as before if nothing has changed. What other windows have written
        may be missing: see `read_aside`."""
        return self._store.listing.read(waits=False)

    def read_aside(self) -> Callable[[], ReadList] | None:
        """What reads the list on another thread, if other windows have written. Its result is for `adopt`."""
        return self._store.listing.read_aside()

    def adopt(self, found: ReadList) -> None:
        self._store.listing.adopt(found)

    def conversation(self, conversation_id: int) -> Conversation:
        return self._store.conversation(conversation_id)

    def pin(self, ids: Sequence[int]) -> tuple[bool, list[Update]]:
        """Pin them, or unpin them if all are pinned. Returns whether they are pinned now."""
        is_pinned = not all(each.is_pinned for each in self._listed(ids))
        self._store.set_pinned(ids, is_pinned)
        return is_pinned, self._changed(ids)

    def archive(self, ids: Sequence[int]) -> tuple[bool, list[Update]]:
        """Archive them, or return them to the list if all are archived. Returns whether they are archived now."""
        listed = self._listed(ids)
        is_archived = not all(each.is_archived for each in listed)
        self._store.set_archived(ids, is_archived)
        changed = tuple(each.id for each in listed if each.is_archived != is_archived)
        self.last_archiving = (is_archived, changed)
        return is_archived, self._changed(ids)

    def undo_archiving(self) -> list[Update]:
        """Take back the last `archive` of this session, unless something was deleted since. Empty: there is nothing."""
        if self.last_archiving is None:
            return []
        was_archived, ids = self.last_archiving
        found = [each.id for each in self._listed(ids) if each.is_archived == was_archived]
        self._store.set_archived(found, not was_archived)
        self.last_archiving = None
        if not found:  # brought back since
            return []
        subject = (
            f"{len(found):,} conversations are"
            if len(found) > 1
            else f"{name_of(self.conversation(found[0]))} is"
        )
        words = f"{subject} {'back in the list' if was_archived else 'archived again'}."
        return [*self._changed(found), Notice(ErrorInfo(kind=NOTE, message=words))]

    def forget_archiving(self) -> None:
        """Something else is the last that can be undone."""
        self.last_archiving = None

    def tag(self, ids: Sequence[int], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> list[Update]:
        """Give them tags and take others away."""
        self._store.retag(ids, add=add, remove=remove)
        return self._changed(ids)

    def common_tags(self, ids: Iterable[int]) -> tuple[str, ...]:
        """The tags that all of them have, in the order of the newest."""
        first, *others = [each.tags for each in self._listed(ids)] or [()]
        return tuple(tag for tag in first if all(tag in tags for tags in others))

    def known_tags(self) -> list[str]:
        """Every tag of a listed or archived conversation, the most frequent first."""
        counts = Counter(tag for each in self._store.listed() for tag in each.tags)
        return sorted(counts, key=lambda tag: (-counts[tag], tag))

    def read(self, conversation_id: int) -> tuple[Conversation, Sequence[Message], Sequence[Message]]:
        """A stored conversation, its messages as shown, and its whole tree."""
        conversation = self._store.conversation(conversation_id)
        path = list(self._store.shown_path(conversation))
        return conversation, path, self._store.tree(conversation_id)

    def _listed(self, ids: Iterable[int]) -> list[ListedConversation]:
        wanted = set(ids)
        return [each for each in self._store.listed() if each.id in wanted]

    def _changed(self, ids: Sequence[int]) -> list[Update]:
        self._refresh(ids)
        return [ConversationsChanged()]
