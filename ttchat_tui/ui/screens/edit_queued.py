"""A dialog to edit a message that waits in the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.keys import canonical_key, key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.edit_bar import files_as_read
from ttchat_tui.ui.widgets.prompt.prompt import Prompt


class EditQueued(Dialog[str]):
    """Result: the new text, which is not blank. Files that are attached already stay as they were read."""

    heading = "Edit the waiting message"
    keys = ""  # escape is in the hint
    AUTO_FOCUS = "Prompt"

    def __init__(
        self,
        text: str,
        home: str,
        settings: UiSettings,
        attached: Callable[[str, str], Awaitable[str | None]],
    ) -> None:
        """`home`: the title of its conversation; empty: the one on screen. `attached` reads the files of the changed draft of a
        message. None: it has reported why one cannot be attached."""
        super().__init__()
        if home:
            self.heading += f" in “{visible_line(home)}”"
        self._text = text
        self._settings = settings
        self._attached = attached

    def body(self) -> ComposeResult:
        yield Prompt(self._settings)
        keep = key_label(canonical_key(self._settings.submit_keys[0]))
        words = (f"{keep} keeps it", "esc leaves it as it was", files_as_read(self._text))
        yield Static("   ".join(filter(None, words)), classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one(Prompt).set_draft(without_mentioned_blocks(self._text))

    @on(Prompt.Submitted)
    async def _submitted(self, event: Prompt.Submitted) -> None:
        text = await self._attached(event.text, self._text)
        if text is not None and self.is_current:
            self.dismiss(text if text != self._text else None)
