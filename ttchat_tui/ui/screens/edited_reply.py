"""The question after a reply was edited: does the model continue it?"""

from __future__ import annotations

from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.widgets import OptionList, Static

from ttchat_tui.ui.screens.dialog import Dialog

_CHOICES: Final = ("Let the model continue from your words", "Keep your words as they are")


class EditedReply(Dialog[bool]):
    """Result: whether the model continues. None: the text is edited further."""

    heading = "The edited reply"

    def body(self) -> ComposeResult:
        yield OptionList(*_CHOICES, markup=False, compact=True)
        yield Static(
            "The old version stays.   ↑↓ choose   enter take",
            classes="hint",
            markup=False,
        )

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_index == 0)
