"""The help: keys and commands, from the action table; over another screen, that screen's own keys, from its bindings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Input, Static

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.commands import TABLE, Action, grouped, keys_of
from ttchat_tui.ui.keys import key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.cells import pad_to_cells
from ttchat_tui.ui.widgets.line_field import LineField

Group: TypeAlias = tuple[str, Sequence[tuple[str, str]]]
"""A heading with its lines: keys, and what they do."""

EDITING = (
    ("↑ ↓", "Earlier prompts, from the draft's first and last line"),
    ("ctrl+a ctrl+e", "Start and end of the line"),
    ("alt+← alt+→", "Back or forward one word (alt+b, alt+f)"),
    ("ctrl+w alt+d", "Delete the word before or after the cursor"),
    ("ctrl+u ctrl+k", "Delete to the start or the end of the line"),
    ("F7", "Select the whole draft; delete clears it"),
    ("tab", "Unfold the pasted text at the cursor"),
    ("ctrl+z", "Undo"),
    ("ctrl+y", "Redo"),
    ("//text", "Send text that starts with a slash"),
    ("space .", "Pause the reply, one token; as first characters of a draft"),
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
        ("h j k l w b e 0 ^ $ gg", "Move; W B E f t F T ; , % G and counts too"),
        ("d c y, x X s S D C Y", "Delete, change or copy what is moved over"),
        ('iw aw i" i( ip', "After d c y v: a word, a string, brackets, a paragraph"),
        ("v V", "Select characters or lines; then d, c, y, ~ or J"),
        ("r ~ J .", "Replace, change case, join lines; the last change again"),
        ('p P "a "+', "Put what was deleted; from or to a register, the clipboard"),
        ("u ctrl+r", "Undo, redo"),
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

PREVIEW = (
    ("d", "Draw twenty tokens; again, another twenty"),
    ("enter, ←", "Fold it away"),
    ("▸", "The token that the reply has"),
    ("bars", "What is kept, and its share after the cuts"),
    ("grey rows", "What a rule cuts, named behind its share before the cuts"),
)

SAMPLING = (
    ("↑ ↓", "Previous or next value; the system prompt is last"),
    ("← →", "Decrease or increase; with shift by ten steps"),
    ("a digit, enter", "Type a value; enter applies it, esc cancels"),
    ("delete", "Back to the default"),
    ("→ ←", "On “more” and “preview”: unfold or fold; enter too"),
    ("d", "Draw twenty tokens from the open preview"),
)

PLACES = (
    ("In the waiting messages", QUEUE),
    ("With a cursor in the transcript", TEXT),
    ("In a search", SEARCH),
    ("In the list of conversations", HISTORY),
    ("In the sampling panel", SAMPLING),
    ("In the sampler's preview", PREVIEW),
)

KEY_WIDTH = 22

MOST_KEYS = 2
"""Alternative keys that are shown; more do not fit at 60 columns. docs/using.md lists all."""


class HelpScreen(Dialog[None]):
    """Scrolls with the arrow and page keys while a filter is typed. Escape closes it, and so does the app for the keys of
    help (F1)."""

    heading = "Help"
    AUTO_FOCUS = "Input"
    BINDINGS = [
        Binding("down", "scroll_by(1)", "Down", show=False),
        Binding("up", "scroll_by(-1)", "Up", show=False),
        Binding("pagedown", "scroll_page(1)", "Page down", show=False),
        Binding("pageup", "scroll_page(-1)", "Page up", show=False),
    ]

    def __init__(
        self,
        overrides: Mapping[str, str],
        editing: EditingStyle = "default",
        about: Screen[Any] | None = None,
        place: str = "",
    ) -> None:
        """`overrides`: config's keys. `about`: the screen below, if it is not the chat; one without keys of its own gets the
        help of the chat. `place`: the heading in it with which to begin."""
        super().__init__()
        self._groups = groups_about(about) if about is not None else []
        """Headings, each with its lines: keys, and what they do."""
        if about is not None and self._groups:
            self.heading = f"Help: {getattr(about, 'heading', '') or self._groups[0][0]}"
        else:
            prompt = ("In the prompt", [*{**dict(EDITING), **dict(MORE_EDITING[editing])}.items()])
            self._groups = [
                *(
                    (title, [(_keys_and_command(action, overrides), action.title) for action in actions])
                    for title, actions in grouped(TABLE)
                ),
                prompt,
                *PLACES,
            ]
            self._groups.sort(key=lambda group: group[0] != place)

    def body(self) -> ComposeResult:
        yield LineField(placeholder="Filter", compact=True)
        with VerticalScroll(can_focus=False):
            yield Static()

    def on_resize(self) -> None:
        """Also called as it opens: the words get the width that the keys leave."""
        self._show()

    @on(Input.Changed)
    def _show(self) -> None:
        wanted = self.query_one(Input).value.casefold().split()
        width = self.query_one(VerticalScroll).scrollable_content_region.width
        found = [
            (title, [line for line in lines if all(word in " ".join(line).casefold() for word in wanted)])
            for title, lines in self._groups
        ]
        parts = [
            Content("\n").join(
                [
                    Content.styled(title, "bold $primary"),
                    *(two_columns(keys, text, width) for keys, text in lines),
                ]
            )
            for title, lines in found
            if lines
        ]
        self.query_one(Static).update(Content("\n\n").join(parts) if parts else "Nothing found.")

    def action_scroll_by(self, rows: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=rows, animate=False, immediate=True)

    def action_scroll_page(self, pages: int) -> None:
        scroll = self.query_one(VerticalScroll)
        scroll.scroll_relative(y=pages * scroll.size.height, animate=False, immediate=True)


def groups_about(screen: Screen[Any]) -> list[Group]:
    """The keys of a screen, then those of its widgets that have a `help_title`, as their classes bind them. Bindings one
    after the other with the same description share a line. `help_lines` of a screen or widget, pairs of keys or a sign and
    words, follow; `help_title` of a screen is its `heading`."""
    nodes = {type(screen): screen} | {
        type(node): node for node in screen.query("*").results() if hasattr(node, "help_title")
    }
    groups = [
        (
            getattr(node, "help_title", None) or getattr(screen, "heading", ""),
            [*_lines_of(node), *getattr(node, "help_lines", ())],
        )
        for node in nodes.values()
    ]
    return [(title, lines) for title, lines in groups if lines]


def _lines_of(node: DOMNode) -> list[tuple[str, str]]:
    """What the classes of this package bind in a node. Textual's own are left out, and escape, which each box names."""
    package = __name__.partition(".")[0]
    own = [
        each
        for each in type(node).__mro__
        if each.__module__.startswith(f"{package}.") and each is not Dialog
    ]
    bound: Iterable[Any] = (binding for each in own for binding in vars(each).get("BINDINGS", ()))
    lines: list[tuple[str, str]] = []
    for binding in Binding.make_bindings(bound):
        keys, words = key_label(binding.key), binding.tooltip or binding.description
        if not words:
            continue
        if lines and lines[-1][1] == words:
            keys = f"{lines.pop()[0]} {keys}"
        lines.append((keys, words))
    return lines


def _keys_and_command(action: Action, overrides: Mapping[str, str]) -> str:
    keys = [key_label(key) for key in keys_of(action, overrides)[:MOST_KEYS]]
    return ", ".join([*keys, action.usage] if action.usage else keys)


def two_columns(keys: str, text: str, width: int) -> Content:
    """Keys left, words right, in `width` cells; words that do not fit beside the keys go below."""
    rows = textwrap.wrap(text, max(10, width - KEY_WIDTH - 1)) or [""]
    if cell_len(keys) > KEY_WIDTH:
        rows.insert(0, "")
    space = " " * (KEY_WIDTH + 1)
    words = f"\n{space}".join(rows)
    return Content.assemble((pad_to_cells(keys, KEY_WIDTH), "$text-secondary"), " ", words)
