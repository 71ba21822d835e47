"""The dialog for a conversation's title."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input

from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.line_field import LineField
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft

MAX_LENGTH = 200


class Rename(Dialog[str]):
    """Result: the new title, on one line; empty: the model is to write it."""

    heading = "Rename the conversation"
    placeholder = "Title"
    accept = "Rename"
    may_be_blank = False

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = " ".join(as_draft(title).split())

    def body(self) -> ComposeResult:
        yield LineField(self._title, max_length=MAX_LENGTH, placeholder=self.placeholder, compact=True)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            if not self.may_be_blank:
                yield Button("Let the model", id="ask", compact=True)
            yield Button(self.accept, id="rename", variant="primary", compact=True)

    @on(Input.Submitted)
    @on(Button.Pressed, "#rename")
    def _accept(self) -> None:
        title = " ".join(as_draft(self.query_one(Input).value).split())
        if title or self.may_be_blank:
            self.dismiss(title)
        else:
            self.app.bell()

    @on(Button.Pressed, "#ask")
    def _ask(self) -> None:
        self.dismiss("")

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()


class NameBranch(Rename):
    """Result: the branch's name; empty for none."""

    heading = "Name this branch"
    placeholder = "Name; empty for none"
    accept = "Name"
    may_be_blank = True
