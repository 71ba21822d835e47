"""The line above the prompt that says which message is being edited."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.widgets.transcript.message_format import clock_time, title_of


class EditBar(Static):
    """Shown while the prompt has the text of a message."""

    def __init__(self) -> None:
        super().__init__(markup=False)

    def open(self, message: Message) -> None:
        when = clock_time(message.created_at)
        whose = f"your message of {when}" if message.role == "user" else f"the reply of {title_of(message)}"
        self.update(Content.assemble((f"Editing {visible(whose)}", "bold"), " · becomes another version"))
        self.display = True
