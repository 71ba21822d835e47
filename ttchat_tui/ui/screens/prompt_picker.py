"""Choice of a prompt template or a preset, with a preview."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.events import Click
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.text import visible, visible_line
from ttchat_tui.ui.screens.dialog import MOST_PREVIEWED, Dialog
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.line_field import LineField

WIDEST_NAME = 24
MOST_LISTED = 200
"""The rest is found by the filter: a key takes as long as the list is."""


class PromptEntry(NamedTuple):
    name: str
    about: str
    """Beside the name."""
    preview: str
    is_usable: bool = True
    """False: the file has a fault, which is the preview."""


class PreviewedList(OptionList):
    """A click shows another entry, and chooses the one that is shown."""

    def on_click(self, event: Click) -> None:
        clicked = event.style.meta.get("option")
        if clicked is not None and clicked != self.highlighted:
            self.highlighted = clicked
            event.prevent_default()


class PromptPicker(Dialog[str]):
    """Result: the name of the chosen entry. ctrl+s closes it and saves what the conversation has now."""

    AUTO_FOCUS = "Input"
    help_lines = (("enter", "Use it"),)
    BINDINGS = [
        Binding("down", "move(1)", "Choose", show=False),
        Binding("up", "move(-1)", "Choose", show=False),
        Binding("ctrl+s", "save", "Close, and save what the conversation has now", show=False),
    ]

    def __init__(
        self,
        heading: str,
        entries: Callable[[], Sequence[PromptEntry]],
        folder: Path,
        save: Callable[[], None],
        example: str = "",
        saves: str = "save the draft as a template",
    ) -> None:
        """`folder`: where the files are. `example`: shown while there are none. `saves`: what `save` does."""
        super().__init__()
        self.heading = heading
        self._entries = entries
        self._folder = folder
        self._save, self._saves = save, saves
        self._example = example
        self._all: Sequence[PromptEntry] = ()
        """All entries, as they were when a file last changed."""
        self._listed: list[PromptEntry] = []
        """The entries that match the filter, in the list's order."""

    def body(self) -> ComposeResult:
        yield LineField(placeholder="Filter", compact=True)
        yield PreviewedList(markup=False, compact=True)
        yield Static("", classes="preview", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_resize(self) -> None:
        """Also called as it opens: the descriptions get the width that the box leaves."""
        self.refresh_entries()

    def refresh_entries(self) -> None:
        """Read the entries again: a file has changed."""
        if self.is_mounted:  # otherwise `on_resize` follows
            self._all = self._entries()
            self._list_matching()

    @on(Input.Changed)
    def _list_matching(self) -> None:
        options = self.query_one(OptionList)
        at = options.highlighted
        before = self._listed[at].name if at is not None else ""
        wanted = self.query_one(Input).value.strip().casefold()
        matching = [each for each in self._all if wanted in f"{each.name} {each.about}".casefold()]
        self._listed = matching[:MOST_LISTED]
        room = options.scrollable_content_region.width - 2  # an option's padding
        options.set_options(Option(_line(each, room)) for each in self._listed)
        names = [each.name for each in self._listed]
        if names:
            options.highlighted = names.index(before) if before in names else 0
        self._show_preview()
        keys = "↑↓ choose   enter use   " if names else "" if wanted else f"No files in {self._folder}   "
        more = f"{len(matching) - len(names):,} more match   " if len(matching) > len(names) else ""
        self.query_one(".hint", Static).update(f"{visible(more + keys)}ctrl+s {self._saves}")

    @on(OptionList.OptionHighlighted)
    def _show_preview(self) -> None:
        at = self.query_one(OptionList).highlighted
        chosen = self._listed[at] if at is not None and at < len(self._listed) else None
        preview = chosen.preview if chosen is not None else "" if self._all else self._example
        self.query_one(".preview", Static).update(visible(preview[:MOST_PREVIEWED]))

    def action_move(self, step: int) -> None:
        """Move in the list while the focus stays in the field."""
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_save(self) -> None:
        self.dismiss(None)
        self._save()

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _choose(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None and self._listed[at].is_usable:
            self.dismiss(self._listed[at].name)
        else:
            self.app.bell()


def _line(entry: PromptEntry, room: int) -> Content:
    """Name and description, in `room` cells."""
    width = max(1, min(WIDEST_NAME, room // 2))
    name = pad_to_cells(cut_to_cells(visible_line(entry.name), width), width)
    about = cut_to_cells(visible_line(entry.about), max(1, room - width - 2))
    return Content.assemble(name, "  ", (about, "$text-muted" if entry.is_usable else "$text-error"))
