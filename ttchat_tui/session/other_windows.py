"""What other windows write in the conversation on screen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence, Set

from msgspec import structs

from ttchat_tui.domain.conversation import ListedConversation, Message
from ttchat_tui.domain.updates import MessageAdded, MessageChanged, Notice, ReplyFollowed, Update
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.marks import Marks
from ttchat_tui.session.notices import CONTINUED_ELSEWHERE, OTHER_HAS_ENDED, WRITTEN_BESIDE
from ttchat_tui.session.running_reply import RunningReply
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

log = logging.getLogger(__name__)


class OtherWindows:
    """Part of a `ChatSession`. A window sees of others what they store."""

    def __init__(
        self,
        store: ConversationStore,
        home: Callable[[], OpenConversation],
        running: Callable[[], Sequence[RunningReply]],
        marks: Marks,
        begin_next: Callable[[], list[Update]],
    ) -> None:
        """`home`: the conversation on screen. `running`: the running replies of this window. `begin_next` sends what waits,
        unless another window answers there."""
        self._store = store
        self._home = home
        self._running = running
        self._marks = marks
        self._begin_next = begin_next
        self._reported: set[int] = set()
        """Messages of which a notice has said that another window has written beside them."""
        self._seen: tuple[OpenConversation, int] | None = None
        """The conversation on screen, and the counter of others' commits, when `follow` looked last."""
        self._continued: OpenConversation | None = None
        """The one of which a notice has said that another window continues it."""
        self._paused: Set[int] = frozenset()
        """Of these, those in which the replies are paused."""
        self._answered: tuple[OpenConversation | None, Set[int]] = (None, frozenset())
        """The conversation on screen, and those in which other windows answer, as of the last look."""

    @property
    def is_answering(self) -> bool:
        """Another window answers in the conversation on screen, as of the last look."""
        home = self._home()
        return home.id in (self._answered[1] if home is self._answered[0] else self.answered())

    @property
    def is_paused(self) -> bool:
        """The reply of another window in the conversation on screen is paused there, as of the last look."""
        return self.is_answering and self._home().id in self._paused

    def answered(self) -> Set[int]:
        """The conversations in which other windows answer now. What cannot be read is answered by nobody: what the user does
        there reports the error."""
        found, self._paused = set[int](), frozenset()
        try:
            found = self._store.answered_by_others()
            if found:
                self._store.recover()  # such a window may have died
                found = self._store.answered_by_others()
                self._paused = self._store.presence.paused_by_others()
        except StorageError as error:
            log.info("the replies of other windows could not be looked for: %s", error)
        self._answered = (self._home(), found)
        return found

    def interrupted(self) -> list[ListedConversation]:
        """The conversations in which a reply was cut off as its window died, and in which nobody has reported that: each is
        returned to one window, and marked in its list. The reply on screen shows it itself. Raises StorageError."""
        self._store.recover()
        if not (replies := self._store.messages(self._store.presence.take_interrupted())):
            return []
        shown = self._home().path.ids
        ids = {each.conversation_id for each in replies if each.id not in shown}
        found = [each for each in self._store.listed() if each.id in ids]
        self._marks.note_failed(*(each.id for each in found))
        return found

    def follow(self) -> list[Update]:
        """Show what another window writes in the conversation on screen, and send what has waited for its reply. Raises
        StorageError; the next call looks again.

        The screen calls it every second: mostly one look at the counter of commits, and at the replies that are being written.
        """
        return [*self._follow(), *self._begin_next()]

    def _follow(self) -> list[Update]:
        """Notices say once that another window continues the conversation, that it has died while it answered, and that it has
        made versions of messages on screen."""
        home, running = self._home(), self._running()
        marked = self._store.recover()
        self.answered()
        seen = (home, self._store.commits_of_others())
        if home.id is None or not home.path or (seen == self._seen and not marked):
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
        if any(isinstance(update, ReplyFollowed) and is_cut_off(update.message) for update in updates):
            updates.append(Notice(OTHER_HAS_ENDED))
        is_continued = any(isinstance(update, MessageAdded) for update in updates)
        if not is_continued or home is self._continued:
            return updates
        self._continued = home
        return [*updates, Notice(CONTINUED_ELSEWHERE)]


def is_cut_off(reply: Message) -> bool:
    """Its process has ended while it wrote: nothing says why it ended."""
    return reply.status == "interrupted" and (reply.reply is None or reply.reply.finish_reason is None)
