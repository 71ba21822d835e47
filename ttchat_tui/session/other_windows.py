"""What other windows write in the conversation on screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from ttchat_tui.domain.updates import MessageAdded, MessageChanged, Notice, Update
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.notices import CONTINUED_ELSEWHERE, WRITTEN_BESIDE
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore


class OtherWindows:
    """Part of a `ChatSession`. Raises StorageError; the next call looks again."""

    def __init__(
        self,
        store: ConversationStore,
        home: Callable[[], OpenConversation],
        running: Callable[[], Sequence[RunningReply]],
    ) -> None:
        """`home`: the conversation on screen. `running`: the running replies of this window."""
        self._store = store
        self._home = home
        self._running = running
        self._reported: set[int] = set()
        """Messages of which a notice has said that another window has written beside them."""
        self._seen: tuple[OpenConversation, int] | None = None
        """The conversation on screen, and the counter of others' commits, when `follow` looked last."""
        self._continued: OpenConversation | None = None
        """The one of which a notice has said that another window continues it."""

    def follow(self) -> list[Update]:
        """Show what another window has sent after the end of the path, and how many versions the messages on screen have by
        now. Notices say once that it continues the conversation, and which versions are new. A look at the counter of commits
        if nobody else has written."""
        home, running = self._home(), self._running()
        seen = (home, self._store.commits_of_others())
        if home.id is None or not home.path or seen == self._seen:
            return []
        counts, updates = self._store.branches.version_counts(home.id), list[Update]()
        written = {each.message.id for each in running}
        if all(each.home.id != home.id for each in running):
            updates += self._follow_end(home)
        theirs = set[int]()
        for known in [
            each for each in home.path.already_read() if each.sibling_count != counts.get(each.id, 1)
        ]:
            if known.id in written:
                continue
            found = next(
                (each for each in self._store.children(known.parent_id, home.id) if each.id == known.id), None
            )
            if found is None:  # deleted there; what the user does with it reports that
                continue
            if found.sibling_count > known.sibling_count:
                theirs.add(known.id)
            fresh = structs.replace(
                known, sibling_index=found.sibling_index, sibling_count=found.sibling_count
            )
            home.replace(fresh)
            updates.append(MessageChanged(fresh))
        if theirs - self._reported:
            updates.append(Notice(WRITTEN_BESIDE))
        self._reported |= theirs
        self._seen = seen
        return updates

    def _follow_end(self, home: OpenConversation) -> list[Update]:
        updates = home.follow()
        is_continued = any(isinstance(update, MessageAdded) for update in updates)
        if not is_continued or home is self._continued:
            return updates
        self._continued = home
        return [*updates, Notice(CONTINUED_ELSEWHERE)]
