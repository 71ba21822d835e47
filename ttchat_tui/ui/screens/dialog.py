"""The frame of every dialog: a titled box over the chat, closed by Escape or a click beside it, with no result."""

from __future__ import annotations

from typing import TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

Result = TypeVar("Result")


class DialogBox(Vertical):
    """The box itself; looks are in styles/dialogs.tcss."""


class Dialog(ModalScreen[Result | None]):
    """Subclasses fill `body`. Result None: the user thought better of it."""

    heading = ""
    BINDINGS = [Binding("escape", "cancel", "Cancel", show=False)]

    def body(self) -> ComposeResult:
        """The widgets inside the box."""
        yield from ()

    def compose(self) -> ComposeResult:
        with DialogBox() as box:
            box.border_title = Content(self.heading)
            yield from self.body()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        # A click on the dimmed chat arrives here with the screen itself as its widget.
        if event.widget is self:
            self.action_cancel()
