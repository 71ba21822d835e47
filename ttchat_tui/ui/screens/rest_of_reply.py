"""A dialog to type what a reply says from one of its tokens on."""

from __future__ import annotations

import codecs
import re
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.keys import canonical_key, key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.prompt.prompt import Prompt

_SHOWN: Final = 400
"""Characters of the text before, at most."""
_PART_OF_A_WORD: Final = re.compile(r"^\S{0,40}\s+")


class RestOfReply(Dialog[str]):
    """Result: the text that takes the place of the rest. It follows a space if what it replaces began with one."""

    heading = "Write the rest"
    AUTO_FOCUS = "Prompt"

    def __init__(self, before: bytes, replaced: bytes, settings: UiSettings) -> None:
        """`before`: the text that stays, of which half a character at its end does not. `replaced`: the token under the cursor."""
        super().__init__()
        self._before = codecs.getincrementaldecoder("utf-8")("replace").decode(before)
        self._replaced = replaced
        self._settings = settings

    def body(self) -> ComposeResult:
        with VerticalScroll(can_focus=False) as before:
            yield Static(visible(f"{_end_of(self._before)}▏"), markup=False)
        before.anchor()  # where it does not fit, its end is shown
        prompt = Prompt(self._settings)
        prompt.placeholder = "Write what follows"
        yield prompt
        send = key_label(canonical_key(self._settings.submit_keys[0]))
        hint = f"{send}: the model continues from your words"
        yield Static(hint, classes="hint", markup=False)

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        is_word = event.text[:1].isalnum() and self._replaced.startswith(b" ")
        self.dismiss(" " * is_word + event.text)

    @on(Prompt.BlankSubmitted)
    def _blank_submitted(self) -> None:
        self.dismiss(None)  # nothing was written, and nothing changes


def _end_of(text: str) -> str:
    """The last words of a text, with … where it is cut."""
    return text if len(text) <= _SHOWN else f"…{_PART_OF_A_WORD.sub('', text[-_SHOWN:])}"
