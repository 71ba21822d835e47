"""Asks before something that cannot be undone."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.widgets import Button, Static

from ttchat_tui.ui.screens.dialog import Dialog


class Confirm(Dialog[bool]):
    """Result True: do it; False or None: do not. The cursor starts on the harmless answer."""

    AUTO_FOCUS = "#no"
    BINDINGS = [
        Binding("y", "answer(True)", "Yes", show=False),
        Binding("n", "answer(False)", "No", show=False),
        Binding("left,right", "app.focus_next", "Other answer", show=False),
    ]

    def __init__(self, question: str, *, detail: str = "", yes: str = "Yes", no: str = "Cancel") -> None:
        super().__init__()
        self.heading = question
        self._detail = detail
        self._yes = yes
        self._no = no

    def body(self) -> ComposeResult:
        if self._detail:
            yield Static(self._detail, markup=False)
        with Horizontal(classes="buttons"):
            yield Button(self._no, id="no", compact=True)
            yield Button(self._yes, id="yes", variant="error", compact=True)

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")
