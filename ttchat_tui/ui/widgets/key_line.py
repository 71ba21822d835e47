"""The bottom row: the keys that work now. Where space is short, whole keys are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer

from ttchat_tui.ui.textual_patches.privates import FooterKey

DISPENSABLE: Final = ("new", "newline", "stop", "toggle_sampling", "toggle_conversations", "palette", "send")
"""Actions whose keys are left out, first to last. Help and keys of the focused widget stay."""

_PADDING: Final = 3
"""Blank columns that `FooterKey` puts around key and description."""


def cells_of(key: FooterKey) -> int:
    return cell_len(key.key_display) + cell_len(key.description) + _PADDING


def name_of(key: FooterKey) -> str:
    """The name of the key's action, without `screen.` and arguments."""
    return key.action.rpartition(".")[2].partition("(")[0]


def fitting(keys: Sequence[FooterKey], room: int) -> list[FooterKey]:
    """The `keys` that fit into `room` cells."""
    kept = list(keys)
    for name in DISPENSABLE:
        if sum(map(cells_of, kept)) <= room:
            break
        kept = [key for key in kept if name_of(key) != name]
    return kept


class KeyLine(Footer):
    """A footer that shows whole keys only; Textual's cuts the last one where the terminal is narrow."""

    def __init__(self, narrower_than: Mapping[str, int]) -> None:
        """`narrower_than`: action → the width in columns below which its key is shown."""
        super().__init__(show_command_palette=False)
        self._narrower_than = narrower_than
        self._room = 0
        self._escape = ""

    def set_escape(self, label: str) -> None:
        """What the keys of `stop` do now, in a word or two; empty if nothing, and then they are not shown."""
        if label != self._escape:
            self._escape = label
            self.refresh(recompose=True)

    def compose(self) -> ComposeResult:
        self._room = self.app.size.width
        widgets: list[Widget] = list(super().compose())
        keys = [
            widget
            for widget in widgets
            if isinstance(widget, FooterKey)
            and self._room < self._narrower_than.get(name_of(widget), self._room + 1)
            and (self._escape or name_of(widget) != "stop")
        ]
        for key in keys:
            if name_of(key) == "stop":
                key.description = self._escape
        kept = fitting(keys, self._room)
        yield from (widget for widget in widgets if not isinstance(widget, FooterKey) or widget in kept)

    async def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._room:
            await self.recompose()
