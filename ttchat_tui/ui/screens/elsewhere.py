"""Replies in conversations that are not on screen: marks in the list, words in the status line, toasts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from msgspec import structs
from textual.timer import Timer

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import ConversationsChanged, ReplyEndedElsewhere, Update
from ttchat_tui.session import ReadList, first_words, name_of
from ttchat_tui.session.notices import cut_off
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import toasts
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.terminal_notice import notice
from ttchat_tui.ui.textual_patches.privates import write_to_terminal
from ttchat_tui.ui.widgets.transcript.message_data import SEPARATOR, MessageView
from ttchat_tui.ui.widgets.transcript.message_format import view_of

if TYPE_CHECKING:
    from ttchat_tui.ui.app import TtchatApp

FOLLOW_S: Final = 5.0
"""How often the list looks for what others have written, in seconds."""

LOOK_S: Final = 1.0
"""How often the conversation on screen does. Other windows store a running reply as often."""

READ_AFTER_S: Final = 0.1
READ_EVERY_S: Final = 0.02
"""Before the first piece of a long conversation and between two of them, each of 3 ms."""

log = logging.getLogger(__name__)

TRIED_AGAIN: Final = "It is tried again when you scroll, or come back to this window."

UNANSWERED = "not answered · /retry asks again"


class Elsewhere(ChatActions):
    """Draws the list of conversations, and reports what has happened in others."""

    show_updates: Callable[[Sequence[Update]], None]
    _reading: Timer | None = None
    """Until the next piece of a long conversation is read."""
    _has_failed_to_read = False
    """A piece could not be read."""
    _unreadable: frozenset[int] = frozenset()
    """Messages on screen that could not be read when they came into view."""

    def view(self, message: Message) -> MessageView:
        """`message` for the transcript, with a note if it has no reply."""
        view = view_of(message, differing=self.session.branching.differing(message))
        if message.role != "user":
            return view
        is_last = self.session.path.ids[-1:] == [message.id]
        return structs.replace(view, note=UNANSWERED) if is_last else view

    def view_of_key(self, message_id: int) -> MessageView:
        """A message on screen that comes into view for the first time."""
        try:
            return self.view(self.session.message(message_id))
        except StorageError as error:
            log.warning("message %s could not be read: %s", message_id, error)
            self._unreadable |= {message_id}
            return MessageView(
                message_id, "system", "", status="error", title="Not readable", note=error.info.message
            )

    def begin_reading(self) -> None:
        """Read the rest of a long conversation, a piece at a time, once its end is drawn."""
        self._unreadable = self._unreadable.intersection(self.session.path.ids)
        self._has_failed_to_read = False
        if self._reading is not None:
            self._reading.stop()
        self._reading = None if self.session.path.is_read else self.set_timer(READ_AFTER_S, self._read_on)

    def _read_on(self) -> None:
        self._reading = None
        try:
            is_read, updates = self.session.context.read_on()
        except StorageError as error:
            self._has_failed_to_read = True
            self._report_unread(error.info)
            return
        if updates:
            self.show_updates(updates)
        if not is_read:
            self._reading = self.set_timer(READ_EVERY_S, self._read_on)

    def _report_unread(self, error: ErrorInfo) -> None:
        """Once: while its toast is on screen, another failure says nothing new."""
        words = structs.replace(error, cure=f"{error.cure} {TRIED_AGAIN}".strip()).lines
        if words not in (toast.message for toast in cast("TtchatApp", self.app).shown_toasts()):
            self.notify(words, severity="error", markup=False, timeout=8)

    def read_again(self) -> None:
        """Read what could not be read before, if there is something: the user scrolls, or has come back."""
        if self._has_failed_to_read:
            self.begin_reading()
        for message_id in self._unreadable:
            try:
                message = self.session.message(message_id)
            except StorageError as error:
                self._report_unread(error.info)
                continue
            self._unreadable -= {message_id}
            self.transcript.add(self.view(message))

    def show_place_of_reply(self) -> None:
        """Show beside the engine's state what it writes: in which conversation, if that is not on screen, or for whom."""
        behind, aside = self.session.answered_elsewhere, self.session.side_requests.running
        if aside is not None:
            self.status.set_detail(f"the {aside.what}", word="writing")
        else:
            self.status.set_detail(f"in {behind}" if behind else "", word=self.pace_word())

    def show_end_elsewhere(self, update: ReplyEndedElsewhere) -> None:
        """Report the end of a reply elsewhere. The list marks it until the conversation is opened."""
        name, error = name_of(update.conversation), update.error
        if update.status == "complete":
            self.notify(f"The reply in {name} is complete.", markup=False)
        elif error is not None:
            failed = structs.replace(error, message=f"The reply in {name} failed. {error.message}")
            self.notify(failed.lines, severity="error", markup=False, timeout=8)
        else:
            self.notify(
                f"The reply in {name} was stopped; the text so far is kept.", severity="warning", markup=False
            )
        self.show_place_of_reply()
        self.announce_reply(update.conversation, update.text, error)

    def show_interrupted(self) -> None:
        """Report the conversations in which a reply was cut off as its window died."""
        try:
            found = self.session.other_windows.interrupted()
        except StorageError as error:
            log.warning("interrupted replies could not be looked for: %s", error)
            return
        if found:
            self.notify(
                cut_off(found).line, title=toasts.INTERRUPTED, severity="warning", markup=False, timeout=10
            )
            self.show_updates([ConversationsChanged()])

    def follow_others(self) -> None:
        """Show what other windows write in the conversation on screen, and what those that have died left."""
        try:
            updates = self.session.other_windows.follow()
        except StorageError as error:
            log.warning("what other windows write could not be read: %s", error)
            return
        self.show_updates(updates)
        self.show_interrupted()

    def lasting_notice(self, is_answered: bool) -> str:
        """For the status line: whether conversations are kept, and whether another window answers in this one."""
        is_kept = self.session.storage_notice is None
        kept = "" if is_kept else "nothing is kept" if self.session.storage_mode == "memory" else "read-only"
        does = "has paused" if is_answered and self.session.other_windows.is_paused else "answers"
        return SEPARATOR.join(filter(None, (kept, f"another window {does}" if is_answered else "")))

    def follow_reply(self, message: Message) -> None:
        """Show a reply of another window with its text so far, or as it has ended."""
        view = self.view(message)
        if message.status != "streaming":
            self.transcript.finish(view)
            return
        shown = self.transcript.source_of(message.id)
        if message.content.startswith(shown):
            self.transcript.begin(structs.replace(view, text=shown))
            self.transcript.feed(message.id, message.content[len(shown) :])
            self.transcript.flush()
        else:
            self.transcript.add(view)

    def refresh_history(self) -> None:
        """Draw the list of conversations again. Raises StorageError."""
        if self.history_panel is None:
            return
        current = self.session.conversation.id if self.session.conversation else None
        self.history_panel.show(self.session.organising.listed(), current)

    def follow_history(self) -> None:
        """Show in the list what other windows and programs have written, and what age it all has by now.

        Without a change this is one look at the counter of commits, a tenth of a millisecond: no work for a thread. With one,
        10,000 conversations are read on another thread.
        """
        if self.history_panel is None:
            return
        try:
            read = self.session.organising.read_aside()
            if read is None:
                self.history_panel.follow(self.session.organising.listed())
        except StorageError as error:
            log.warning("the list of conversations could not be read: %s", error)
            return
        if read is not None:
            self.run_worker(self._adopt_history(read), group="history", exclusive=True)

    async def _adopt_history(self, read: Callable[[], ReadList]) -> None:
        try:
            self.session.organising.adopt(await in_daemon_thread(read))
            listed = self.session.organising.listed()
        except StorageError as error:
            log.warning("the list of conversations could not be read: %s", error)
            return
        if self.history_panel is not None:
            self.history_panel.follow(listed)

    def announce_reply(self, conversation: Conversation | None, reply: str, error: ErrorInfo | None) -> None:
        """Report the end of a reply, by the conversation's name and the reply's first words."""
        said = error.message if error is not None else first_words(reply) or "It has ended."
        self.announce(name_of(conversation) if conversation is not None else "ttchat", said)

    def announce(self, title: str, text: str) -> None:
        """Report the end of a wait through the terminal, if config asks for it."""
        settings = self.services.config.ui
        if settings.notify == "always" or (settings.notify == "unfocused" and not self.app.app_focus):
            way = "bell" if self.app.is_web else settings.notify_with
            write_to_terminal(self.app, notice(title, text, way, os.environ))
