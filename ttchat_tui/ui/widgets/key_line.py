"""The bottom row: the keys that work now. Where space is short, whole keys are left out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

from ttchat_tui.ui.commands import BY_NAME, keys_of
from ttchat_tui.ui.keys import key_label

DISPENSABLE: Final = ("new", "newline", "toggle_sampling", "toggle_conversations", "palette", "send", "stop")
"""Actions whose keys are left out, first to last: what escape does is shown only while it does something. Before that one the
keys of the focused widget go, the last ones first. Help stays."""


class ShownKey(NamedTuple):
    """One key of the row."""

    action: str
    """Its name, without `screen.` and arguments."""
    key: str
    """As Textual names it."""
    label: str
    """As it is shown."""
    description: str
    is_enabled: bool
    tooltip: str
    is_own: bool = False
    """Of the focused widget or one around it, not of the screen."""

    @property
    def cells(self) -> int:
        """Its width in columns: a blank before the label, and one after label and description."""
        return 1 + cell_len(self.label) + 1 + cell_len(self.description) + 1


def keys_shown(words: Mapping[str, str], overrides: Mapping[str, str]) -> list[ShownKey]:
    """The first key of each action that has one. `words`: action → its word. `overrides`: config's keys."""
    return [
        ShownKey(name, keys[0], key_label(keys[0]), word, is_enabled=True, tooltip=BY_NAME[name].help)
        for name, word in words.items()
        if (keys := keys_of(BY_NAME[name], overrides))
    ]


def fitting(keys: Sequence[ShownKey], room: int) -> list[ShownKey]:
    """The `keys` that fit into `room` cells."""
    kept, (*others, last) = list(keys), DISPENSABLE
    own = [key.action for key in keys if key.is_own and key.action not in DISPENSABLE]
    for name in (*others, *reversed(own), last):
        if sum(key.cells for key in kept) <= room:
            break
        kept = [key for key in kept if key.action != name]
    return kept


def beginning(keys: Sequence[ShownKey], room: int) -> list[ShownKey]:
    """The first of `keys`, as many as fit into `room` cells."""
    ends = itertools.accumulate(key.cells for key in keys)
    return [key for key, end in zip(keys, ends, strict=True) if end <= room]


class KeyLine(Widget, can_focus=False):
    """One widget for the whole row. Textual's `Footer` has a widget for each key, which it makes anew whenever the focus
    moves, and it cuts the last one where the terminal is narrow."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES = {"key-line--key", "key-line--description", "key-line--disabled", "key-line--hover"}
    DEFAULT_CSS = """
    KeyLine {
        dock: bottom; height: 1; text-wrap: nowrap;
        background: $footer-background; color: $footer-foreground;
        .key-line--key { color: $footer-key-foreground; text-style: bold; }
        .key-line--description { color: $footer-description-foreground; }
        .key-line--disabled { color: $footer-description-foreground; text-style: dim; }
        .key-line--hover { color: $footer-key-foreground; background: $block-hover-background; }
    }
    """

    def __init__(self, narrower_than: Mapping[str, int]) -> None:
        """`narrower_than`: action → the width in columns below which its key is shown."""
        super().__init__()
        self._narrower_than = narrower_than
        self._escape = ""
        self._keys: list[ShownKey] = []
        """All that could be shown."""
        self._hovered: ShownKey | None = None

        self._selection: Sequence[ShownKey] = ()
        self._pace: Sequence[ShownKey] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._read_keys)

    def _read_keys(self, screen: Screen[Any]) -> None:
        if not screen.app.app_focus:  # the row of a terminal without the focus stays as it is
            return
        keys: dict[str, ShownKey] = {}
        for node, binding, is_enabled, tooltip in screen.active_bindings.values():
            if binding.show and binding.action not in keys:
                name = binding.action.rpartition(".")[2].partition("(")[0]
                label, tip = screen.app.get_key_display(binding), tooltip or binding.description
                about = binding.description
                about = about[:1].lower() + about[1:]  # Textual's own, such as that of an open menu
                is_own = node not in (screen, screen.app)
                keys[binding.action] = ShownKey(name, binding.key, label, about, is_enabled, tip, is_own)
        if self._keys != (found := list(keys.values())):
            self._keys = found
            self.refresh()

    def set_escape(self, label: str) -> None:
        """What the keys of `stop` do now, in a word or two; empty if nothing, and then they are not shown."""
        if label != self._escape:
            self._escape = label
            self.refresh()

    def set_selection(self, keys: Sequence[ShownKey]) -> None:
        """What can be done with the selected message or the chosen conversations, the most important first; these follow those
        of the focused widget, and replace the other keys. Empty: nothing is selected."""
        if list(keys) != list(self._selection):
            self._selection = keys
            self.refresh()

    def set_pace(self, keys: Sequence[ShownKey]) -> None:
        """The keys that end its thought, pause and step the running reply, which follow those that stop it; empty if there are none now."""
        if list(keys) != list(self._pace):
            self._pace = keys
            self.refresh()

    def _shown(self) -> list[ShownKey]:
        room = self.size.width
        keys = [
            key._replace(description=self._escape) if key.action == "stop" else key
            for key in self._keys
            if room < self._narrower_than.get(key.action, room + 1) and (self._escape or key.action != "stop")
        ]
        own = [key for key in keys if key.is_own and key.action not in DISPENSABLE]
        first = [*own, *(key for key in keys if key.action == "stop")]
        if self._selection:
            return beginning([*first, *self._selection], room)
        if self._pace:
            first += self._pace
            others = fitting(
                [key for key in keys if key not in first], room - sum(key.cells for key in first)
            )
            return beginning([*first, *others], room)
        return fitting(keys, room)

    def render(self) -> Content:
        parts: list[Content] = []
        for key in self._shown():
            style = "key" if key.is_enabled else "disabled"
            label = Content.styled(f" {key.label} ", self.get_visual_style(f"key-line--{style}"))
            style = "description" if key.is_enabled else "disabled"
            description = Content.styled(f"{key.description} ", self.get_visual_style(f"key-line--{style}"))
            part = Content.assemble(label, description)
            parts.append(
                part.stylize(self.get_visual_style("key-line--hover")) if key == self._hovered else part
            )
        return Content("").join(parts)

    def _key_at(self, x: int) -> ShownKey | None:
        for key in self._shown():
            if x < key.cells:
                return key
            x -= key.cells
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._hover(self._key_at(event.x))

    def on_leave(self) -> None:
        self._hover(None)

    def _hover(self, key: ShownKey | None) -> None:
        if key != self._hovered:
            self._hovered = key
            self.tooltip = key.tooltip if key else None
            self.refresh()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        key = self._key_at(event.x)
        if key is not None and key.is_enabled:
            self.app.simulate_key(key.key)
        elif key is not None:
            self.app.bell()
