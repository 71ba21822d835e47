"""A dialog to edit a message that waits in the queue."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.ui.keys import canonical_key, key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.prompt.prompt import Prompt


class EditQueued(Dialog[str]):
    """Result: the new text, which is not blank."""

    heading = "Edit the waiting message"
    AUTO_FOCUS = "Prompt"

    def __init__(self, text: str, settings: UiSettings) -> None:
        super().__init__()
        self._text = text
        self._settings = settings

    def body(self) -> ComposeResult:
        yield Prompt(self._settings)
        keep = key_label(canonical_key(self._settings.submit_keys[0]))
        yield Static(f"{keep} keeps it   esc leaves it as it was", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.query_one(Prompt).set_draft(self._text)

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        self.dismiss(event.text)
