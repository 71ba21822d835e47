"""The dialog for saving several conversations: the format and the folder."""

from __future__ import annotations

from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, RadioSet, Static

from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.save import FORMATS, Saving, target_of
from ttchat_tui.ui.widgets.choice_row import ChoiceRow, MarkedButton
from ttchat_tui.ui.widgets.line_field import LineField


class SaveSeveral(Dialog[Saving]):
    """Result: a folder as the target."""

    AUTO_FOCUS = "Input"

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__()
        self.heading = f"Save {count:,} conversations" if count > 1 else "Save a conversation"
        self._folder = folder
        self._format = "markdown"

    def body(self) -> ComposeResult:
        with ChoiceRow(compact=True, id="formats"):
            for name, (_, label) in FORMATS.items():
                yield MarkedButton(label, value=name == self._format, name=name)
        yield LineField(f"{self._folder}/", placeholder="Folder", compact=True)
        hint = "A file for each, named after its title. JSON has every branch, the others what is shown."
        yield Static(hint, classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Save", id="save", variant="primary", compact=True)

    @on(RadioSet.Changed)
    def _format_chosen(self, event: RadioSet.Changed) -> None:
        self._format = event.pressed.name or "markdown"

    @on(Input.Submitted)
    @on(ChoiceRow.Accepted)
    @on(Button.Pressed, "#save")
    def _accept(self) -> None:
        target = target_of(self.query_one(Input).value)
        if target is None:
            self.app.bell()
        else:
            self.dismiss(Saving(self._format, target))

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()
