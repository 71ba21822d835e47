"""Keys and commands, drawn from the action table."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.ui.commands import BY_NAME, TABLE, Action, grouped, keys_of
from ttchat_tui.ui.keys import key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.textual_patches.privates import add_bindings

EDITING = (
    ("↑ ↓", "Earlier prompts, from the draft's first and last line"),
    ("ctrl+a ctrl+e", "Start and end of the line"),
    ("alt+← alt+→", "A word back or on (alt+b, alt+f)"),
    ("ctrl+w alt+d", "Delete the word before or after the cursor"),
    ("ctrl+u ctrl+k", "Delete to the start or the end of the line"),
    ("F7", "Select the whole draft; delete empties it"),
    ("ctrl+z ctrl+y", "Undo, redo"),
    ("//text", "Send text that begins with a slash"),
)
"""What the prompt does besides, in the same two columns."""

HISTORY = (
    ("enter", "Open the conversation"),
    ("F2", "Rename it"),
    ("delete, twice", "Delete it; /undo brings it back"),
    ("ctrl+f", "Filter by title; esc clears the filter"),
    ("a letter", "Goes to the prompt"),
)

SAMPLING = (
    ("↑ ↓", "The value above or below; the system prompt is the last"),
    ("← →", "Less or more; with shift by ten"),
    ("a digit", "Type a value; enter takes it, esc leaves it"),
    ("delete", "Back to the default"),
)

PLACES = (
    ("In the prompt", EDITING),
    ("In the list of conversations", HISTORY),
    ("In the sampling panel", SAMPLING),
)

KEY_WIDTH = 22

MOST_KEYS = 2
"""More alternatives than this would not fit beside the words at 60 columns; the README lists all."""


class HelpScreen(Dialog[None]):
    """Scrolls with the arrow and page keys; Escape, F1 (or the key that help has) and q close it."""

    heading = "Help"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS = [Binding("q", "cancel", "Close", show=False)]

    def __init__(self, overrides: Mapping[str, str]) -> None:
        super().__init__()
        self._overrides = overrides
        close = [Binding(key, "cancel", "Close", show=False) for key in keys_of(BY_NAME["help"], overrides)]
        add_bindings(self, close)

    def body(self) -> ComposeResult:
        with VerticalScroll():
            for title, actions in grouped(TABLE):
                yield Static(Content.styled(title, "bold $primary"), classes="group")
                yield Static(Content("\n").join(self._line(action) for action in actions))
            for title, lines in PLACES:
                yield Static(Content.styled(title, "bold $primary"), classes="group")
                yield Static(Content("\n").join(two_columns(keys, text) for keys, text in lines))

    def _line(self, action: Action) -> Content:
        keys = [key_label(key) for key in keys_of(action, self._overrides)[:MOST_KEYS]]
        how = ", ".join([*keys, action.usage] if action.usage else keys)
        return two_columns(how, action.title)


def two_columns(keys: str, text: str) -> Content:
    """Keys left, words right; keys too long for their column push the words on."""
    return Content.assemble((keys.ljust(KEY_WIDTH), "$text-secondary"), " ", text)
