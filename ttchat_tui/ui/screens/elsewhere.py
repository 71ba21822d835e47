"""Replies in conversations that are not on screen: marks in the list, words in the status line, toasts."""

from __future__ import annotations

import logging
import os
from typing import Final

from msgspec import structs

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import ReplyEndedElsewhere
from ttchat_tui.session import first_words, name_of
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.terminal_notice import notice
from ttchat_tui.ui.textual_patches.privates import write_to_terminal
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.message_format import view_of

FOLLOW_S: Final = 5.0
"""How often the list looks for what others have written, in seconds."""

log = logging.getLogger(__name__)

UNANSWERED = "not answered · /retry asks again"


class Elsewhere(ChatActions):
    """Draws the list of conversations, and reports what has happened in others."""

    def view(self, message: Message) -> MessageView:
        """`message` for the transcript, with a note if it has no reply."""
        view = view_of(message, differing=self.session.branching.differing(message))
        if message.role != "user":
            return view
        last = self.session.path[-1].id if self.session.path else None
        return structs.replace(view, note=UNANSWERED) if message.id == last else view

    def show_place_of_reply(self) -> None:
        """Show beside the engine's state what it writes: in which conversation, if that is not on screen, or for whom."""
        behind, aside = self.session.answered_elsewhere, self.session.side_requests.running
        if aside is not None:
            self.status.set_detail(f"the {aside.what}", word="writing")
        else:
            self.status.set_detail(f"in {behind}" if behind else "")

    def show_end_elsewhere(self, update: ReplyEndedElsewhere) -> None:
        """Report the end of a reply elsewhere. The list marks it until the conversation is opened."""
        name, error = name_of(update.conversation), update.error
        if update.status == "complete":
            self.notify(f"The reply in {name} is complete.", markup=False)
        elif error is not None:
            words = f"The reply in {name} failed. {error.message}"
            self.notify(
                f"{words}\n{error.cure}" if error.cure else words, severity="error", markup=False, timeout=8
            )
        else:
            self.notify(
                f"The reply in {name} was stopped; the text so far is kept.", severity="warning", markup=False
            )
        self.show_place_of_reply()
        self.announce_reply(update.conversation, update.text, error)

    def show_recovered(self) -> None:
        """Report the conversations in which a reply was cut off by a crash. Raises StorageError."""
        if names := [name_of(each) for each in self.session.recovered_elsewhere()]:
            self.notify(
                f"The app ended while a reply was running in {' and '.join(names)}. The text so far is kept; /continue "
                "resumes it there.",
                title="Interrupted",
                markup=False,
                timeout=10,
            )

    def refresh_history(self) -> None:
        """Draw the list of conversations again. Raises StorageError."""
        if self.history_panel is None:
            return
        current = self.session.conversation.id if self.session.conversation else None
        self.history_panel.show(self.session.conversations(), current)

    def follow_history(self) -> None:
        """Show what other windows and programs have written, and what age it all has by now.

        Without a change this is one look at the counter of commits, a tenth of a millisecond: no work for a thread.
        """
        if self.history_panel is None:
            return
        try:
            conversations = self.session.conversations()
        except StorageError as error:
            log.warning("the list of conversations could not be read: %s", error)
            return
        self.history_panel.follow(conversations)

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
