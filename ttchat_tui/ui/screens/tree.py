"""The tree of a conversation: all branches on one screen, to look at, filter, jump in, name and delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.message_keys import MessageChoice, chat_bindings
from ttchat_tui.ui.screens.rename import NameBranch
from ttchat_tui.ui.screens.tree_list import TreeList
from ttchat_tui.ui.screens.tree_rows import (
    TreeRow,
    author_of,
    beginning_of,
    marks_of,
    matching,
    rows_of,
)
from ttchat_tui.ui.textual_patches.privates import add_bindings
from ttchat_tui.ui.widgets.line_field import LineField

_KEYS: Final = "↑↓ choose   ←→ branches   enter open   F2 name   delete twice: delete   words filter"

IN_THE_TREE: Final = {
    "tree": "cancel",
    "rename": "name",
    "select_previous": "move(-1)",
    "select_next": "move(1)",
    "older_version": "fork(-1)",
    "newer_version": "fork(1)",
    "delete_message": "delete_now",
}
"""What the keys of these actions of the chat do here; those of others are obeyed by the chat."""


class FilterField(LineField):
    """Words that the rows have to have. Hidden while it is empty."""

    BINDINGS = [
        Binding("escape", "clear", "Clear", show=False),
        Binding("up,down,pageup,pagedown", "leave", "To the rows", show=False),
    ]

    class Left(Message):
        """The keys are for the rows again. Without words it is of no use."""

    def action_clear(self) -> None:
        self.value = ""
        self.post_message(self.Left())

    def action_leave(self) -> None:
        self.post_message(self.Left())


class TreeScreen(Dialog[MessageChoice]):
    """Letters filter. The keys that act on a message in the chat act on the one under the cursor."""

    heading = "Tree"
    AUTO_FOCUS = "TreeList"
    help_lines = (
        ("↑ ↓", "Choose a message"),
        ("enter", "Show its branch in the chat, with this message selected"),
        ("letters", 'Filter: words, "words together"; esc clears the filter'),
        ("alt+e, ctrl+r …", "The keys of the chat that act on a message act on the chosen one"),
        ("●", "On the branch that the chat shows"),
    )
    BINDINGS = [
        Binding("right", "fork(1)", "To the next or previous branch", show=False),
        Binding("left", "fork(-1)", "To the next or previous branch", show=False),
        Binding("f2", "name", "Name the branch", show=False),
        Binding("delete", "delete", "Twice: delete this message with all that follows it", show=False),
        Binding("ctrl+z", "undo", "Undo the deletion", show=False),
    ]

    def __init__(
        self,
        outline: Callable[[], Sequence[OutlineEntry]],
        open_ids: Callable[[], Sequence[int]],
        current: int,
        name: Callable[[int, str], bool],
        delete: Callable[[int], bool],
        undo: Callable[[], None],
        keys: Mapping[str, str],
    ) -> None:
        """`outline` and `open_ids` read the tree and the branch on screen, now and after each change: StorageError. `name`
        and `delete` return whether they have changed anything. `current`: the message to begin at. `keys`: config's."""
        super().__init__()
        add_bindings(self, chat_bindings(keys, IN_THE_TREE))
        self._undo = undo
        self._deleted = 0
        """Deletions here that can be undone here."""
        self._outline = outline
        self._open_ids = open_ids
        self._current = current
        """The message that the cursor was on last: a filter without a match has none."""
        self._name = name
        self._delete = delete
        self._asked: int | None = None
        """The message that the next press of delete would delete."""
        self._all = rows_of(outline(), open_ids())
        self._rows: Sequence[TreeRow] = self._all
        """Those that match the filter."""

    def body(self) -> ComposeResult:
        yield FilterField(placeholder="Words", compact=True, select_on_focus=False)
        yield TreeList()
        yield Static("", classes="preview", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        self._filter.display = False
        self._show(self._current)

    @property
    def _list(self) -> TreeList:
        return self.query_one(TreeList)

    @property
    def _filter(self) -> FilterField:
        return self.query_one(FilterField)

    @property
    def _chosen(self) -> TreeRow | None:
        """The row under the cursor; None if none matches."""
        return self._rows[self._list.highlighted] if self._rows else None

    @property
    def _chosen_id(self) -> int | None:
        return self._chosen.entry.id if self._chosen is not None else None

    def _show(self, message_id: int, near: int = 0) -> None:
        """Show the rows that match, with the cursor on this message, else on the row `near`."""
        self._rows = matching(self._all, self._filter.value)
        places = (place for place, row in enumerate(self._rows) if row.entry.id == message_id)
        self._list.show(self._rows, next(places, near))

    def _read_again(self) -> None:
        """After a change: nothing is left if the conversation was deleted."""
        try:
            self._all = rows_of(self._outline(), self._open_ids())
        except StorageError as error:
            self.notify(error.info.message, severity="error", markup=False)
            self._all = []
        if not self._all:
            self.dismiss(None)
            return
        self._show(self._current, self._list.highlighted)

    @on(TreeList.Highlighted)
    def _highlighted(self) -> None:
        preview = "No message has these words in its beginning. alt+s searches all that was said."
        if (row := self._chosen) is not None:
            self._current = row.entry.id
            first = " · ".join([author_of(row.entry), *marks_of(row)])
            preview = f"{first}\n{beginning_of(row.entry)}"
        self.query_one(".preview", Static).update(Content(preview))
        self._show_keys()

    def _show_keys(self) -> None:
        branches = sum(row.is_fork for row in self._all)
        shown, count = len(self._rows), len(self._all)
        counts = f"{shown:,} of {count:,} messages" if shown < count else f"{count:,} messages"
        counts += f", {branches:,} versions" if branches else ""
        asked = "press delete again to delete this message and all that follows" if self._asked else ""
        self.query_one(".hint", Static).update(asked or f"{counts}   {_KEYS}")

    # --- the filter

    def on_key(self, event: events.Key) -> None:
        if event.key != "delete" and self._asked is not None:
            self._asked = None
            self._show_keys()
        field = self._filter
        if event.is_printable and event.character is not None and not field.has_focus:
            event.stop()
            field.display = True
            field.focus()
            field.insert_text_at_cursor(event.character if event.character not in "/ " else "")

    @on(Input.Changed)
    def _filtered(self, event: Input.Changed) -> None:
        self._show(self._current)
        if not event.value:
            self._left()

    @on(FilterField.Left)
    def _left(self) -> None:
        self._list.focus()
        self._filter.display = bool(self._filter.value)

    @on(Input.Submitted)
    def _entered(self) -> None:
        self._selected()

    # --- the message under the cursor

    def action_move(self, step: int) -> None:
        self._list.action_move(step)

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
            if typed is None or row is None or typed == row.entry.branch_name:
                return
            if self._name(row.entry.id, typed):
                self._read_again()

        if row is not None:
            self.app.push_screen(NameBranch(row.entry.branch_name), name)

    def action_delete(self) -> None:
        """The first press asks; a second one right after it deletes."""
        if self._asked is None or self._asked != self._chosen_id:
            self._asked = self._chosen_id
            self._show_keys()
        else:
            self.action_delete_now()

    def action_delete_now(self) -> None:
        self._asked, message_id = None, self._chosen_id
        if message_id is not None and self._delete(message_id):
            self._deleted += 1
            self._read_again()
        self._show_keys()

    def action_undo(self) -> None:
        """Of what was deleted before the tree was opened, `/undo` brings it back: it may be elsewhere."""
        if not self._deleted:
            self.notify(
                "Nothing was deleted in this tree yet. In the prompt, /undo goes further back.", markup=False
            )
            return
        self._deleted -= 1
        self._undo()
        self._read_again()

    def action_leave(self, action: str) -> None:
        """Let the chat do what this key is for."""
        if (message_id := self._chosen_id) is not None:
            self.dismiss(MessageChoice(message_id, action))

    @on(TreeList.Chosen)
    def _selected(self) -> None:
        self.action_leave("")
