"""The tree of a conversation: all branches on one screen, to look at, jump in, name and delete."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.rename import NameBranch
from ttchat_tui.ui.screens.tree_list import TreeList
from ttchat_tui.ui.screens.tree_rows import (
    TreeRow,
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
        yield TreeList()
        yield Static("", classes="preview", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        places = (place for place, row in enumerate(self._rows) if row.entry.id == self._current)
        self._list.show(self._rows, next(places, 0))

    @property
    def _list(self) -> TreeList:
        return self.query_one(TreeList)

    @property
    def _chosen(self) -> TreeRow:
        return self._rows[self._list.highlighted]

    def _read_again(self) -> None:
        """After a change: nothing is left if the conversation was deleted."""
        try:
            rows = rows_of(self._outline(), self._open_ids())
        except StorageError as error:
            self.notify(error.info.message, severity="error", markup=False)
            rows = []
        if not rows:
            self.dismiss(None)
            return
        self._rows = rows
        self._list.show(rows, self._list.highlighted)

    @on(TreeList.Highlighted)
    def _highlighted(self) -> None:
        row = self._chosen
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
        place = self._list.highlighted + step
        while 0 <= place < len(self._rows):
            if self._rows[place].is_fork:
                self._list.highlighted = place
                return
            place += step
        self.app.bell()

    def action_name(self) -> None:
        row = self._chosen

        def name(typed: str | None) -> None:
            if typed is not None and self._name(row.entry.id, typed):
                self._read_again()

        self.app.push_screen(NameBranch(row.entry.branch_name), name)

    def action_delete(self) -> None:
        """The first press asks; a second one right after it deletes."""
        message_id = self._chosen.entry.id
        if self._asked != message_id:
            self._asked = message_id
        else:
            self._asked = None
            if self._delete(message_id):
                self._read_again()
        self._show_keys()

    @on(TreeList.Chosen)
    def _selected(self) -> None:
        self.dismiss(self._chosen.entry.id)
