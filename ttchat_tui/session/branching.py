"""The tree of the conversation on screen: other versions of its messages, its branches, and their deletion with undo.

Nothing is overwritten: what replaces a message is stored as its sibling.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import structs

from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.domain.reply_settings import NO_SETTINGS, ReplySettings, continued, differing
from ttchat_tui.domain.updates import (
    NOTE,
    BranchShown,
    ConversationsChanged,
    MessageChanged,
    MessageRemoved,
    Notice,
    Update,
)
from ttchat_tui.session.conversation import OpenConversation, name_of
from ttchat_tui.session.notices import ASKED_IN_WORDS, NEWEST, NOTHING_TO_DO, OLDEST, UNCHANGED, still_running
from ttchat_tui.session.reply_runner import ReplyRunner
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError, not_found
from ttchat_tui.storage.message_path import MessagePath
from ttchat_tui.storage.recordings import PartialCopy

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession


class Branching:
    """Part of a `ChatSession`. Methods that name a message raise StorageError if it is not there or cannot be read or
    written; then nothing has changed."""

    def __init__(
        self,
        session: ChatSession,
        store: ConversationStore,
        runner: ReplyRunner,
        home: Callable[[], OpenConversation],
        why_not: Callable[[str], ErrorInfo | None],
    ) -> None:
        """`home`: the conversation on screen. `why_not`: why no reply can start in it; its argument is the cure if one
        runs there already."""
        self._session = session
        self._store = store
        self._runner = runner
        self._home = home
        self._why_not = why_not
        self._ends: dict[int, int] = {}
        """A version that another one has replaced on screen in this session → the last message of the branch it left with."""

    # --- replies

    def why_not(self) -> ErrorInfo | None:
        """Why no other version of a message can be made now; None: it can."""
        return self._why_not("Press Esc to stop it, then try again.")

    def regenerate(
        self, message_id: int | None = None, settings: ReplySettings = NO_SETTINGS
    ) -> list[Update]:
        """Generate another reply beside the reply `message_id`, or to the user's message of that id; by default at the end
        of the path. What was on screen stays in the tree, and returns to the screen if the new reply fails.

        `settings` apply to this reply; a model that they name stays loaded."""
        if why := self.why_not():
            return [Notice(why)]
        before = self._session.path
        at = len(before) - 1 if message_id is None else self._place(message_id)
        if at >= 0 and before[at].role == "user":
            at += 1
        if at <= 0:
            return [Notice(NOTHING_TO_DO)]
        loading = self._session.load(settings.model) if settings.model else []
        return [*loading, *self._begin(before[:at], before[at:], settings)]

    def _begin(
        self, asked: MessagePath, replaced: Sequence[Message], settings: ReplySettings = NO_SETTINGS
    ) -> list[Update]:
        """Answer the path `asked` in place of `replaced`."""
        home, session, before = self._home(), self._session, self._session.path
        session.load_if_none()
        removed = _removed(len(asked), replaced)  # now: the reply that begins joins `asked`
        self._note_end(len(asked))
        home.path = asked
        updates = self._runner.begin(
            home, session.sampling, session.model, replaced=replaced, settings=settings
        )
        if not session.is_busy:
            home.path = before
            return updates
        return [*removed, *updates, ConversationsChanged()]

    def continue_reply(self, message_id: int | None = None) -> list[Update]:
        """Continue the reply `message_id`, by default the last one, where it ended: after an interruption, a stop, or
        `max_tokens`. A reply that others follow is continued in a copy beside it."""
        if why := self._why_not("Use /continue when it has ended."):
            return [Notice(why)]
        before = self._session.path
        at = len(before) - 1 if message_id is None else self._place(message_id)
        if at < 0 or before[at].role != "assistant":
            return [Notice(NOTHING_TO_DO)]
        message = before[at]
        if not message.content:
            return self.regenerate(message.id)
        if at == len(before) - 1:
            return self._continue(())
        assert message.reply is not None
        before.read()  # before a copy is stored: the prompt needs all of it
        shown = self._add_reply(
            at, message.content, message.reply, is_edited=message.is_edited, recorded=PartialCopy(message.id)
        )
        continued = self._continue(before[at:])
        if self._runner.running is not None:
            self._runner.running.is_copy = True
        return [*shown, *continued]

    def _continue(self, replaced: Sequence[Message]) -> list[Update]:
        """Continue the end of the path. `replaced` returns to the screen if the model refuses that."""
        session = self._session
        session.load_if_none()
        is_exact = session.info is None or session.info.capabilities.continues
        last, settings, words = session.path[-1], NO_SETTINGS, ""
        if last.reply is not None and last.reply.sampling is not None:
            settings, words = continued(last.reply.sampling, session.sampling, self.differing(last))
        began = self._runner.continue_reply(self._home(), session.sampling, replaced, settings)
        return [
            *([] if is_exact else [Notice(ASKED_IN_WORDS)]),
            *began,
            *([Notice(ErrorInfo(kind=NOTE, message=words))] if words and session.is_busy else []),
            ConversationsChanged(),
        ]

    # --- words

    def edit(self, message_id: int, text: str) -> list[Update]:
        """Store `text` beside a message of the user, and answer it. The same text is only answered if it was not before."""
        if why := self.why_not():
            return [Notice(why)]
        home, session, before = self._home(), self._session, self._session.path
        at = self._place(message_id)
        if text == before[at].content:
            return [Notice(UNCHANGED)] if at + 1 < len(before) else self.regenerate(message_id)
        self._note_end(at)
        home.path = before[:at]
        try:
            message = home.add_user_message(text, session.model)
        except BaseException:
            home.path = before
            raise
        session.load_if_none()
        shown = BranchShown(at, (message,))
        began = self._runner.begin(home, session.sampling, session.model, asked=message, replaced=before[at:])
        return [shown, *began, ConversationsChanged()]

    def write(self, message_id: int, text: str, *, to_continue: bool) -> list[Update]:
        """Store `text` as a reply that the user wrote: beside the reply `message_id`, or to the user's message of that id.
        The model continues it, or it is complete."""
        if why := self.why_not() if to_continue else self._why_not_here():
            return [Notice(why)]
        at = self._place(message_id)
        message = self._session.path[at]
        record = message.reply or ReplyRecord(
            model="", engine="", sampling=self._session.sampling, seed=self._session.sampling.seed or 0
        )
        record = structs.replace(record, token_ids=())
        return self.write_as(message_id, text, record, is_edited=True, to_continue=to_continue)

    def write_as(
        self,
        message_id: int,
        text: str,
        record: ReplyRecord,
        *,
        is_edited: bool,
        to_continue: bool,
        recorded: PartialCopy | None = None,
        is_kept: bool = True,
    ) -> list[Update]:
        """As `write`, with what is known of this reply: its record, whose ids the model continues from, and its recording.
        `is_kept`: also if the model refuses to continue it; otherwise what it replaces returns to the screen."""
        at, before = self._place(message_id), self._session.path
        at += self._session.path[at].role == "user"
        record = structs.replace(record, finish_reason=None if to_continue else "stop")
        if to_continue:
            self._session.path.read()
        shown = self._add_reply(at, text, record, is_edited=is_edited, recorded=recorded)
        if not to_continue:
            return [*shown, ConversationsChanged()]
        return [*shown, *self._continue(() if is_kept else before[at:])]

    def _add_reply(
        self, at: int, text: str, record: ReplyRecord, *, is_edited: bool, recorded: PartialCopy | None = None
    ) -> list[Update]:
        """Store a complete reply, and show it in place of the path from `at` on."""
        home = self._home()
        parent = home.path[at - 1]
        reply_id = self._store.branches.add_reply(
            parent.conversation_id,
            parent.id,
            text,
            record,
            is_edited=is_edited,
            recorded=recorded,
        )
        reply = self._store.message(reply_id)
        self._note_end(at)
        home.path = home.path[:at]
        home.path.append(reply)
        return [BranchShown(at, (reply,))]

    # --- branches

    def outline(self) -> list[OutlineEntry]:
        """All messages of the conversation on screen, parents before children. Empty for a new conversation."""
        home_id = self._home().id
        if home_id is None:
            return []
        if entries := self._store.branches.outline(home_id):
            return entries
        raise not_found("This conversation")

    def differing(self, message: Message) -> list[str]:
        """The names of the sampling parameters in which the versions of a reply differ."""
        if message.role != "assistant" or message.sibling_count < 2 or message.parent_id is None:
            return []
        return differing(self._store.branches.samplings(message.conversation_id, message.parent_id))

    def name(self, message_id: int, name: str) -> list[Update]:
        """Name the branch that begins with this message."""
        self._store.branches.name(message_id, name)
        return self._shown_again(self._home().path.place_of(message_id))

    def show(self, message: Message) -> list[Update]:
        """Show a message of the conversation on screen with its newest continuation, and keep that branch. What the path
        has already is not read again."""
        return self._show_ids(self._store.newest_ids(message), message.id)

    def turn_version(self, message_id: int, step: int) -> list[Update]:
        """Show the previous (-1) or next (1) version of a message on screen, with the branch it was left with, or its newest
        continuation. If there is none, a notice says so.

        Raises:
            StorageError: the message was deleted or cannot be read; nothing has changed.
        """
        if self._session.is_answering:
            return [Notice(still_running("Press Esc to stop it, then choose a version."))]
        shown = self._home().path.message(message_id)
        if shown is None:
            return []
        versions = [each.id for each in self._store.children(shown.parent_id, shown.conversation_id)]
        if shown.id not in versions:  # removed in another window
            raise not_found("This message")
        wanted = versions.index(shown.id) + step
        if not 0 <= wanted < len(versions):
            return [Notice(OLDEST if step < 0 else NEWEST)]
        return self.show_version(self._store.message(versions[wanted]))

    def show_version(self, message: Message) -> list[Update]:
        """Show another version of a message on screen with the branch it left the screen with, so that the way back leads
        where one was; the first time with its newest continuation."""
        ids = self._store.newest_ids(message)
        if (end := self._ends.get(message.id)) is not None:
            with suppress(StorageError):  # deleted since
                left = self._store.newest_ids(self._store.message(end))
                ids = left if message.id in left else ids
        return self._show_ids(ids, message.id)

    def _note_end(self, at: int) -> None:
        """The path on screen is about to be replaced from `at` on."""
        if replaced := self._home().path.ids[at:]:
            self._ends[replaced[0]] = replaced[-1]

    def _show_ids(self, ids: Sequence[int], message_id: int) -> list[Update]:
        """Show the path `ids` with the message in view."""
        home = self._home()
        pairs = enumerate(zip(home.path.ids, ids, strict=False))
        shared = next((at for at, (known, wanted) in pairs if known != wanted), min(len(home.path), len(ids)))
        self._note_end(shared)
        return self._show_path(home, ids, shared, message_id)

    def _show_path(
        self, home: OpenConversation, ids: Sequence[int], kept: int, at: int | None = None
    ) -> list[Update]:
        """Show the path `ids`, whose first `kept` messages are on screen, with the message `at` in view."""
        path = home.path.switched(ids, kept)
        path.message(ids[-1] if at is None else at)  # what the screen shows is read before anything changes
        assert home.conversation is not None
        self._store.set_head(home.conversation.id, ids[-1])
        home.conversation = structs.replace(home.conversation, head_id=ids[-1])
        home.path = path
        self._runner.overlay(home)
        return [BranchShown(kept, home.path[kept:], at)]

    def turned(self) -> int | None:
        """The id of the last message on screen that has other versions."""
        home = self._home()
        counts = {} if home.id is None else self._store.branches.version_counts(home.id)
        return next((each for each in reversed(home.path.ids) if each in counts), None)

    def branch_off(self, message_id: int) -> list[Update]:
        """Copy the path up to this message, of any branch, into a new conversation, and open that."""
        copied = self._store.branches.copy_path(list(self._store.path(message_id)))
        return [*self._session.open(copied), ConversationsChanged()]

    def delete(self, message_id: int) -> tuple[int, list[Update]]:
        """Delete a message with all that follows it, on screen or in another branch. `undo` brings it back. Without the only
        first message nothing is left: then the conversation is deleted. Returns how many messages are deleted; none while a
        reply runs."""
        if why := self._why_not_here():
            return 0, [Notice(why)]
        home, message = self._home(), self._store.message(message_id)
        versions = self._store.children(message.parent_id, message.conversation_id)
        if message.parent_id is None and len(versions) == 1:
            count = self._store.conversation(message.conversation_id).message_count
            return count, self._session.delete(message.conversation_id)
        at = home.path.place_of(message_id)
        if at is None:
            assert home.path
            count = self._store.branches.cut([message], home.path.ids[-1])
            self._session.organising.forget_archiving()
            above = home.path.place_of(message.parent_id)
            place = 0 if message.parent_id is None else None if above is None else above + 1
            return count, self._shown_again(place)
        ids = [each.id for each in versions]
        place = ids.index(message_id)
        beside = [*reversed(ids[:place]), *ids[place + 1 :]]
        left = self._store.newest_ids(versions[ids.index(beside[0])]) if beside else home.path.ids[:at]
        home.path.switched(left, at).message(left[-1])  # what the screen shows is read before all changes
        count = self._store.branches.cut([message], left[-1])
        self._session.organising.forget_archiving()
        return count, self._show_path(home, left, at)

    def undo(self) -> list[Update]:
        """Take back the last archiving of this session; else bring back what was deleted last, in this session or an earlier
        one: a conversation, which is opened if no other one is on screen, or a branch of one, which is shown. The next call brings back what was deleted before. Does nothing
        if there is nothing."""
        if updates := self._session.organising.undo_archiving():
            return updates
        last = self._store.last_deleted()
        if not last:
            return []
        if self._store.branches.is_cut(last[0]):
            updates = self._show_restored([self._store.branches.put_back(each) for each in last])
            words = f"The messages are back in {self._home().name}."
        else:
            updates = self._session.undelete()
            if any(isinstance(update, Notice) for update in updates):  # it cannot be opened
                return updates
            several = f"{len(last):,} conversations are back."
            words = several if len(last) > 1 else f"{name_of(self._store.conversation(last[0]))} is back."
        return [*updates, Notice(ErrorInfo(kind=NOTE, message=words))]

    # --- inside

    def _show_restored(self, ids: Sequence[int]) -> list[Update]:
        """Show the branch that is back; of several, which were deleted beside one that was kept, that one stays on screen."""
        home, last = self._home(), self._store.message(ids[-1])
        beside = self._store.children(last.parent_id, last.conversation_id) if len(ids) > 1 else ()
        kept = next((each for each in beside if home.path.place_of(each.id) is not None), None)
        if kept is None:
            return self._session.open_at(last.id)
        home.replace(kept)
        return [MessageChanged(kept), ConversationsChanged()]

    def _why_not_here(self) -> ErrorInfo | None:
        """Why the tree on screen cannot change now, or None."""
        return still_running("Press Esc to stop it, then try again.") if self._session.is_answering else None

    def _place(self, message_id: int) -> int:
        """The position on the path. Raises StorageError, kind `not_found`."""
        at = self._session.path.place_of(message_id)
        if at is None:
            raise not_found("This message")
        return at

    def _shown_again(self, place: int | None) -> list[Update]:
        """Read the changed message of the path again, if it has one there."""
        home = self._home()
        if place is None or place >= len(home.path):
            return []
        message = self._store.message(home.path.ids[place])
        home.replace(message)
        return [MessageChanged(message)]


def _removed(kept: int, replaced: Sequence[Message]) -> list[Update]:
    """What follows the first `kept` messages leaves the screen."""
    if len(replaced) > 1:
        return [BranchShown(kept, ())]
    return [MessageRemoved(message.id) for message in replaced]
