"""The help: keys and commands, from the action table."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.commands import BY_NAME, TABLE, Action, grouped, keys_of
from ttchat_tui.ui.keys import key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.textual_patches.privates import add_bindings

EDITING = (
    ("↑ ↓", "Earlier prompts, from the draft's first and last line"),
    ("ctrl+a ctrl+e", "Start and end of the line"),
    ("alt+← alt+→", "Back or forward one word (alt+b, alt+f)"),
    ("ctrl+w alt+d", "Delete the word before or after the cursor"),
    ("ctrl+u ctrl+k", "Delete to the start or the end of the line"),
    ("F7", "Select the whole draft; delete clears it"),
    ("ctrl+z", "Undo"),
    ("ctrl+y", "Redo"),
    ("//text", "Send text that starts with a slash"),
)
"""The prompt's editing keys."""

MORE_EDITING: Mapping[EditingStyle, tuple[tuple[str, str], ...]] = {
    "default": (),
    "emacs": (
        ("ctrl+f ctrl+b", "Forward or back one character"),
        ("ctrl+n ctrl+p", "Down or up, and to later or earlier prompts"),
        ("ctrl+y", "Insert what ctrl+k, u, w or alt+d deleted"),
        ("ctrl+t", "Exchange the characters around the cursor"),
    ),
    "vi": (
        ("esc", "Normal mode; from there it stops the reply"),
        ("i a I A o O", "Write: before, after, at an end, on a new line"),
        ("h j k l w b e 0 ^ $ gg", "Move; W B E f t F T ; , G and counts too"),
        ("d c y, x X s S D C Y", "Delete, change or copy what is moved over"),
        ("v", "Select; then d, c or y"),
        ("r ~ J", "Replace a character, change its case, join lines"),
        ("p P u ctrl+r", "Put what was deleted, undo, redo"),
    ),
}
"""Further keys of the way of editing, or other uses of a key."""

QUEUE = (
    ("enter", "Send what is held"),
    ("e", "Edit the message"),
    ("d", "Drop it"),
    ("K J", "Move it up or down"),
)

TEXT = (
    ("arrows, h j k l w b e", "Move the cursor; 0 $ gg G too"),
    ("v, shift+arrows", "Select from here"),
    ("y", "Copy and leave; esc leaves"),
)

HISTORY = (
    ("enter", "Open the conversation"),
    ("F2", "Rename it"),
    ("delete, twice", "Delete it; /undo brings it back"),
    ("ctrl+f", "Filter by title; esc clears the filter"),
    ("a letter", "Types into the prompt"),
)

SEARCH = (
    ('mesh "two words"', "A word or a part of one; words side by side"),
    ("role:user", "Only what you said; role:assistant: replies"),
    ("model:llama", "Only replies of models with this in their name"),
    ("before: after:", "A date: 2026-11-29, 2026-11, 2026, today, yesterday"),
    ("in:title", "Only titles"),
    ("n N", "Next or previous hit in the conversation"),
)

SAMPLING = (
    ("↑ ↓", "Previous or next value; the system prompt is last"),
    ("← →", "Decrease or increase; with shift by ten steps"),
    ("a digit", "Type a value; enter applies it, esc cancels"),
    ("delete", "Back to the default"),
)

PLACES = (
    ("In the waiting messages", QUEUE),
    ("With a cursor in the transcript", TEXT),
    ("In a search", SEARCH),
    ("In the list of conversations", HISTORY),
    ("In the sampling panel", SAMPLING),
)

KEY_WIDTH = 22

MOST_KEYS = 2
"""Alternative keys that are shown; more do not fit at 60 columns. The README lists all."""


class HelpScreen(Dialog[None]):
    """Scrolls with the arrow and page keys. Escape, q and the keys of help (F1) close it."""

    heading = "Help"
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS = [Binding("q", "cancel", "Close", show=False)]

    def __init__(self, overrides: Mapping[str, str], editing: EditingStyle = "default") -> None:
        super().__init__()
        self._prompt = ("In the prompt", {**dict(EDITING), **dict(MORE_EDITING[editing])}.items())
        self._overrides = overrides
        close = [Binding(key, "cancel", "Close", show=False) for key in keys_of(BY_NAME["help"], overrides)]
        add_bindings(self, close)

    def body(self) -> ComposeResult:
        with VerticalScroll():
            for title, actions in grouped(TABLE):
                yield Static(Content.styled(title, "bold $primary"), classes="group")
                yield Static(Content("\n").join(self._line(action) for action in actions))
            for title, lines in (self._prompt, *PLACES):
                yield Static(Content.styled(title, "bold $primary"), classes="group")
                yield Static(Content("\n").join(two_columns(keys, text) for keys, text in lines))

    def _line(self, action: Action) -> Content:
        keys = [key_label(key) for key in keys_of(action, self._overrides)[:MOST_KEYS]]
        how = ", ".join([*keys, action.usage] if action.usage else keys)
        return two_columns(how, action.title)


def two_columns(keys: str, text: str) -> Content:
    """Keys left, words right; long keys push the words on."""
    return Content.assemble((keys.ljust(KEY_WIDTH), "$text-secondary"), " ", text)
