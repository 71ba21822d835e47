"""The dialog that saves a text or the settings of a conversation as a prompt template or a preset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, RadioSet, Static

from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.choice_row import ChoiceRow, MarkedButton
from ttchat_tui.ui.widgets.line_field import LineField
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft

MAX_LENGTH = 200


class SavedPrompt(NamedTuple):
    part: str
    """What is saved: a key of the dialog's `parts`."""
    name: str
    description: str


class SavePrompt(Dialog[SavedPrompt]):
    """Result: what to save, and under which name. No file is ever replaced."""

    AUTO_FOCUS = "#name"

    def __init__(
        self, heading: str, parts: Mapping[str, str], problem: Callable[[str], str], name: str = ""
    ) -> None:
        """`parts`: what can be saved → its text as it is shown. `problem`: why a name cannot be used; empty if it can."""
        super().__init__()
        self.heading = heading
        self._parts = parts
        self._part = next(iter(parts))
        self._problem = problem
        self._suggested = name

    def body(self) -> ComposeResult:
        if len(self._parts) > 1:
            with ChoiceRow(compact=True):
                for part in self._parts:
                    yield MarkedButton(part, value=part == self._part, name=part)
        yield Static(classes="preview", markup=False)
        yield LineField(self._suggested, placeholder="Name", compact=True, id="name", max_length=MAX_LENGTH)
        yield LineField(placeholder="Description", compact=True, id="description", max_length=MAX_LENGTH)
        yield Static("", classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Save", id="save", variant="primary", compact=True)

    def on_mount(self) -> None:
        self._show_part()

    def _show_part(self) -> None:
        self.query_one(".preview", Static).update(self.first_lines(self._parts[self._part]))

    @on(RadioSet.Changed)
    def _part_chosen(self, event: RadioSet.Changed) -> None:
        self._part = event.pressed.name or self._part
        self._show_part()

    @property
    def typed_name(self) -> str:
        return as_draft(self.query_one("#name", Input).value).strip()

    @on(Input.Changed, "#name")
    def _show_problem(self) -> None:
        self.query_one(".hint", Static).update(self._problem(self.typed_name) if self.typed_name else "")

    @on(Input.Submitted)
    @on(ChoiceRow.Accepted)
    @on(Button.Pressed, "#save")
    def _accept(self) -> None:
        problem = self._problem(self.typed_name)
        if problem:
            self.query_one(".hint", Static).update(problem)
            self.query_one("#name").focus()
            self.app.bell()
        else:
            description = as_draft(self.query_one("#description", Input).value).strip()
            self.dismiss(SavedPrompt(self._part, self.typed_name, description))

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()
