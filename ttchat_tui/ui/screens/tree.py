"""The tree of a conversation: all branches on one screen, to look at, jump in, name and delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.rename import NameBranch
from ttchat_tui.ui.screens.tree_rows import (
    TreeRow,
    TreeRowVisual,
    author_of,
    beginning_of,
    marks_of,
    rows_of,
)

_KEYS = "↑↓ choose   ←→ branches   enter open   F2 name   delete twice: delete"


class TreeScreen(Dialog[int]):
    """Result: the id of the message to show."""

    heading = "Tree"
    BINDINGS = [
        Binding("right", "fork(1)", "Next branch", show=False),
        Binding("left", "fork(-1)", "Previous branch", show=False),
        Binding("f2", "name", "Name the branch", show=False),
        Binding("delete", "delete", "Delete", show=False),
    ]

    def __init__(
        self,
        outline: Callable[[], Sequence[OutlineEntry]],
        open_ids: Callable[[], Sequence[int]],
        current: int,
        name: Callable[[int, str], bool],
        delete: Callable[[int], bool],
    ) -> None:
        """`outline` and `open_ids` read the tree and the branch on screen, now and after each change: StorageError. `name`
        and `delete` return whether they have changed anything. `current`: the message to begin at."""
        super().__init__()
        self._outline = outline
        self._open_ids = open_ids
        self._current = current
        self._name = name
        self._delete = delete
        self._asked: int | None = None
        """The message that the next press of delete would delete."""
        self._rows = rows_of(outline(), open_ids())

    def body(self) -> ComposeResult:
        yield OptionList(*self._options(), markup=False, compact=True)
        yield Static("", classes="preview", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        self._highlight(self._current)

    def _options(self) -> list[Option]:
        return [Option(TreeRowVisual(row)) for row in self._rows]

    @property
    def _at(self) -> TreeRow | None:
        place = self.query_one(OptionList).highlighted
        return self._rows[place] if place is not None else None

    def _highlight(self, message_id: int) -> None:
        places = (place for place, row in enumerate(self._rows) if row.entry.id == message_id)
        self.query_one(OptionList).highlighted = next(places, len(self._rows) - 1)

    def _read_again(self, place: int) -> None:
        """After a change: nothing is left if the conversation was deleted."""
        self._rows = rows_of(self._outline(), self._open_ids())
        if not self._rows:
            self.dismiss(None)
            return
        listed = self.query_one(OptionList)
        listed.set_options(self._options())
        listed.highlighted = min(place, len(self._rows) - 1)

    @on(OptionList.OptionHighlighted)
    def _highlighted(self) -> None:
        row = self._at
        if row is None:
            return
        first = " · ".join([author_of(row.entry), *marks_of(row)])
        self.query_one(".preview", Static).update(Content(f"{first}\n{beginning_of(row.entry)}"))
        self._show_keys()

    def _show_keys(self) -> None:
        branches = sum(row.is_fork for row in self._rows)
        counts = f"{len(self._rows):,} messages" + (f", {branches:,} versions" if branches else "")
        asked = "press delete again: this message and all that follows" if self._asked else ""
        self.query_one(".hint", Static).update(asked or f"{counts}   {_KEYS}")

    def on_key(self, event: events.Key) -> None:
        if event.key != "delete" and self._asked is not None:
            self._asked = None
            self._show_keys()

    def action_fork(self, step: int) -> None:
        """Move to the next (1) or previous (-1) message that has versions."""
        listed = self.query_one(OptionList)
        place = (listed.highlighted or 0) + step
        while 0 <= place < len(self._rows):
            if self._rows[place].is_fork:
                listed.highlighted = place
                return
            place += step
        self.app.bell()

    def action_name(self) -> None:
        row, place = self._at, self.query_one(OptionList).highlighted or 0
        if row is None:
            return

        def name(typed: str | None) -> None:
            if typed is not None and self._name(row.entry.id, typed):
                self._read_again(place)

        self.app.push_screen(NameBranch(row.entry.branch_name), name)

    def action_delete(self) -> None:
        """The first press asks; a second one right after it deletes."""
        row, place = self._at, self.query_one(OptionList).highlighted or 0
        if row is None:
            self.app.bell()
        elif self._asked != row.entry.id:
            self._asked = row.entry.id
            self._show_keys()
        else:
            self._asked = None
            if self._delete(row.entry.id):
                self._read_again(place)
            else:
                self._show_keys()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._rows[event.option_index].entry.id)
