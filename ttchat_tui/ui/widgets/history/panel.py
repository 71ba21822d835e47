"""The list of conversations: grouped by day, with a live filter, fast with thousands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events, getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.ui.widgets.history.groups import ConversationRow, HistoryItem, HistoryRow, matching, rows_of
from ttchat_tui.ui.widgets.history.row_visual import RowVisual
from ttchat_tui.ui.widgets.line_field import LineField

__all__ = ["HistoryItem", "HistoryPanel"]


class ConversationList(OptionList):
    """The rows. Keys act on the highlighted conversation, through the panel. Letters are not keys here."""

    BINDINGS = [
        Binding("f2", "panel('rename')", "rename", key_display="F2"),
        Binding("delete", "delete", "twice: delete", key_display="delete"),
    ]

    @dataclass
    class Commanded(Message):
        """A command for the highlighted conversation: `rename`, `delete`, `ask` to confirm a deletion, or `keep`."""

        command: str

    asked: str | None = None
    """The conversation that the next press of delete would delete."""

    def action_panel(self, command: str) -> None:
        self.post_message(self.Commanded(command))

    def action_delete(self) -> None:
        """The first press asks; a second one right after it deletes."""
        option = self.highlighted_option
        if option is None or option.id is None:
            self.app.bell()
        elif self.asked == option.id:
            self.asked = None
            self.post_message(self.Commanded("delete"))
        else:
            self.asked = option.id
            self.post_message(self.Commanded("ask"))

    def on_key(self, event: events.Key) -> None:
        if event.key != "delete":
            self._keep()

    def on_blur(self) -> None:
        self._keep()

    def on_mouse_down(self) -> None:
        self._keep()

    def _keep(self) -> None:
        if self.asked is not None:
            self.asked = None
            self.post_message(self.Commanded("keep"))


class FilterInput(LineField):
    """The filter. Escape clears and leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", show=False),
        Binding("down", "leave", "To the list", show=False),
    ]

    @dataclass
    class Left(Message):
        """Down was pressed: move to the list."""

    @dataclass
    class Closed(Message):
        """Escape was pressed; the filter is empty."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.value) if action == "clear" else super().check_action(action, parameters)

    def action_clear(self) -> None:
        self.value = ""
        self.post_message(self.Closed())

    def action_leave(self) -> None:
        self.post_message(self.Left())


class NewButton(Static):
    """A button for a new conversation."""

    @dataclass
    class Pressed(Message):
        """It was clicked."""

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Pressed())


class HistoryPanel(Vertical):
    """Conversations, newest first. It changes nothing itself; requests are posted as messages."""

    DEFAULT_CSS = """
    HistoryPanel {
        width: 30;
        Horizontal { height: 1; }
        FilterInput { width: 1fr; }
        NewButton { width: 5; padding: 0 1; text-align: right; }
        ConversationList { height: 1fr; }
        #history-empty { height: auto; display: none; }
        &.-empty ConversationList { display: none; }
        &.-empty #history-empty { display: block; }
    }
    """

    filter_input = getters.query_one(FilterInput)
    conversations = getters.query_one(ConversationList)

    @dataclass
    class ConversationChosen(Message):
        """Open this conversation."""

        id: int

    @dataclass
    class NewRequested(Message):
        """Begin a new conversation."""

    @dataclass
    class FilterClosed(Message):
        """The user left the filter for the prompt."""

    @dataclass
    class RenameRequested(Message):
        """Ask for another title for this conversation."""

        id: int

    @dataclass
    class DeleteRequested(Message):
        """Delete this conversation."""

        id: int

    def __init__(self, *, clock: Callable[[], float] = time.time, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._items: Sequence[HistoryItem] = ()
        self._current: int | None = None
        self._rows: list[HistoryRow] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield FilterInput(placeholder="filter", compact=True, select_on_focus=False)
            yield NewButton("+", markup=False)
        yield ConversationList(markup=False, compact=True)
        yield Static("", id="history-empty", markup=False)

    def on_mount(self) -> None:
        self.border_title = "Conversations"
        self.query_one(NewButton).tooltip = "New conversation"
        self._draw()

    # --- what the screen uses

    def show(self, items: Sequence[HistoryItem], current: int | None) -> None:
        """Show `items` with `current` marked. Highlight and scroll position stay; unchanged rows are not drawn again.

        A filter that would hide a newly opened conversation is cleared.
        """
        is_another = current is not None and current != self._current
        self._items = tuple(items)
        self._current = current
        if not self.is_mounted:
            return
        if is_another and current not in [each.id for each in matching(self._items, self.filter_input.value)]:
            self.clear_filter()
        self._draw()

    def clear_filter(self) -> None:
        """Show all conversations again."""
        self.filter_input.value = ""

    def focus_filter(self) -> None:
        self.filter_input.focus()

    def neighbour(self, current: int | None, step: int) -> int | None:
        """The conversation `step` below (if negative, above) `current`; the newest if `current` is not in the list. None
        at the ends."""
        ids = [item.id for item in self._items]
        place = ids.index(current) + step if current in ids else 0
        return ids[place] if 0 <= place < len(ids) else None

    @property
    def highlighted_id(self) -> int | None:
        """The conversation under the list's cursor."""
        option = self.conversations.highlighted_option
        return int(option.id) if option is not None and option.id is not None else None

    # --- drawing

    def _draw(self) -> None:
        rows = rows_of(matching(self._items, self.filter_input.value), self._current, self._clock())
        self.set_class(not rows, "-empty")
        if not rows:
            nothing = "No title matches." if self._items else "No conversations yet."
            self.query_one("#history-empty", Static).update(nothing)
        if rows == self._rows:
            return
        highlighted, place, scroll_y = (
            self.highlighted_id,
            self.conversations.highlighted,
            self.conversations.scroll_y,
        )
        self._rows = rows
        self.conversations.set_options(_option(row) for row in rows)
        self._restore(highlighted, place, scroll_y)

    def _restore(self, highlighted: int | None, place: int | None, scroll_y: float) -> None:
        """Restore highlight and scroll position; a row that has gone is replaced by its neighbour.

        While the focus is elsewhere, the open conversation is highlighted.
        """
        index_of = {row.id: index for index, row in enumerate(self._rows) if isinstance(row, ConversationRow)}
        if not index_of:
            return
        is_in_use = self.has_focus_within
        wanted = highlighted if is_in_use and highlighted in index_of else None
        if wanted is None and (place is None or not is_in_use):
            wanted = self._current
        index = index_of.get(wanted) if wanted is not None else None
        if index is None:
            nearest = place if place is not None else 0
            index = min(index_of.values(), key=lambda candidate: (abs(candidate - nearest), candidate))
        with self.conversations.prevent(OptionList.OptionHighlighted):
            self.conversations.highlighted = index
        self.conversations.scroll_to(y=scroll_y, animate=False, force=True, immediate=True)

    # --- events from the parts

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._draw()
        if event.value:  # Enter opens the newest match, not the row highlighted before
            self.conversations.action_first()

    @on(Input.Submitted)
    def _filter_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.highlighted_id is not None:
            self.post_message(self.ConversationChosen(self.highlighted_id))

    @on(FilterInput.Left)
    def _filter_left(self, event: FilterInput.Left) -> None:
        event.stop()
        self.conversations.focus()

    @on(FilterInput.Closed)
    def _filter_closed(self, event: FilterInput.Closed) -> None:
        event.stop()
        self.post_message(self.FilterClosed())

    @on(NewButton.Pressed)
    def _new_pressed(self, event: NewButton.Pressed) -> None:
        event.stop()
        self.post_message(self.NewRequested())

    @on(OptionList.OptionSelected)
    def _conversation_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self.post_message(self.ConversationChosen(int(event.option_id)))

    @on(ConversationList.Commanded)
    def _commanded(self, event: ConversationList.Commanded) -> None:
        event.stop()
        chosen = self.highlighted_id
        self.border_subtitle = "press delete again" if event.command == "ask" else ""
        match event.command:
            case "ask" | "keep":
                pass
            case "rename" if chosen is not None:
                self.post_message(self.RenameRequested(chosen))
            case "delete" if chosen is not None:
                self.post_message(self.DeleteRequested(chosen))
            case _:
                self.app.bell()


def _option(row: HistoryRow) -> Option:
    is_conversation = isinstance(row, ConversationRow)
    return Option(RowVisual(row), id=str(row.id) if is_conversation else None, disabled=not is_conversation)
