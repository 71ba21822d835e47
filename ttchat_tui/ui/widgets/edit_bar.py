"""The line above the prompt that says which message is being edited."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.attachments import find_blocks, without_mentioned_blocks
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
        words = ["becomes another version"]
        if message.role == "user" and (files := files_as_read(message.content)):
            words.insert(0, files)
        self.update(
            Content.assemble((f"Editing {visible(whose)}", "bold"), *(f" · {each}" for each in words))
        )
        self.display = True


def files_as_read(message: str) -> str:
    """What happens to the files that are in a message and not in its draft; empty if there are none."""
    count = len(find_blocks(message)) - len(find_blocks(without_mentioned_blocks(message)))
    return f"the {'file stays' if count == 1 else f'{count} files stay'} as read" if count else ""
