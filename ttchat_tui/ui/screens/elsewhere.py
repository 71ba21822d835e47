"""Replies in conversations that are not on screen: marks in the list, words in the status line, toasts."""

from __future__ import annotations

from msgspec import structs

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.updates import ReplyEndedElsewhere
from ttchat_tui.session import name_of
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.message_format import view_of

UNANSWERED = "not answered · /retry asks again"


class Elsewhere(ChatActions):
    """Draws the list of conversations, and reports what has happened in others."""

    def view(self, message: Message) -> MessageView:
        """`message` for the transcript, with a note if it has no reply."""
        view = view_of(message)
        if message.role != "user":
            return view
        last = self.session.path[-1].id if self.session.path else None
        return structs.replace(view, note=UNANSWERED) if message.id == last else view

    def show_place_of_reply(self) -> None:
        """Show beside the engine's state in which conversation a reply runs, if that is not on screen."""
        behind = self.session.answered_elsewhere
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
        self.ring()

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
        items = [
            deferred.history_panel.HistoryItem(c.id, c.title, c.updated_at, self.session.mark_of(c.id))
            for c in self.session.conversations()
        ]
        self.history_panel.show(items, current)

    def ring(self) -> None:
        """Ring the terminal's bell at the end of a wait, if config asks for it."""
        when = self.services.config.ui.notify
        if when == "always" or (when == "unfocused" and not self.app.app_focus):
            self.app.bell()
