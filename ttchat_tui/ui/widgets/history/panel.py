"""The list of conversations: grouped by day, with a live filter, fast with ten thousand."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from textual import events, getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.session import Mark
from ttchat_tui.ui.widgets.history.conversation_list import ConversationList
from ttchat_tui.ui.widgets.history.groups import ARCHIVED, matching, rows_of
from ttchat_tui.ui.widgets.line_field import LineField


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

    help_title = "In the list of conversations"
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

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear_filter", "Clear the filter", show=False)
    ]

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
        """Delete these conversations."""

        ids: tuple[int, ...]

    def __init__(
        self,
        mark_of: Callable[[int], Mark] = lambda _: "",
        *,
        clock: Callable[[], float] = time.time,
        id: str | None = None,
    ) -> None:
        """`mark_of`: a conversation's mark; asked whenever it is drawn."""
        super().__init__(id=id)
        self._mark_of = mark_of
        self._clock = clock
        self._items: Sequence[ListedConversation] = ()
        self._current: int | None = None
        self._drawn_at = clock()

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield FilterInput(placeholder="filter", compact=True, select_on_focus=False)
            yield NewButton("+", markup=False)
        yield ConversationList(self._clock)
        yield Static("", id="history-empty", markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        is_filtered = bool(self.filter_input.value) if action == "clear_filter" else True
        return is_filtered and super().check_action(action, parameters)

    def action_clear_filter(self) -> None:
        """Escape in the list does what it does in the filter: all conversations are shown, and the prompt has the focus."""
        self.clear_filter()
        self.post_message(self.FilterClosed())

    def on_mount(self) -> None:
        self.border_title = "Conversations"
        self.query_one(NewButton).tooltip = "New conversation"
        self._draw()

    # --- what the screen uses

    def show(self, items: Sequence[ListedConversation], current: int | None) -> None:
        """Show `items`, newest first, with `current` marked. Highlight and scroll position stay.

        A newly opened conversation is highlighted, and a filter that would hide it is cleared.
        """
        is_another = current is not None and current != self._current
        self._items = items
        self._current = current
        if not self.is_mounted:
            return
        if is_another and current not in [each.id for each in matching(items, self.filter_input.value)]:
            self.clear_filter()
        self._draw()
        if is_another and (place := self.conversations.place_of(current)) is not None:
            self.conversations.highlight_near(place)

    def follow(self, items: Sequence[ListedConversation]) -> None:
        """`show`, if `items` are others, or if an age or a group on screen is another by now."""
        now = self._clock()
        is_another_day = date.fromtimestamp(now) != date.fromtimestamp(self._drawn_at)
        if items is not self._items or is_another_day or self.conversations.has_aged(self._drawn_at, now):
            self.show(items, self._current)

    def clear_filter(self) -> None:
        """Show all conversations again."""
        self.filter_input.value = ""

    def show_archived(self) -> None:
        """Show the archived conversations in place of the others."""
        self.filter_input.value = f"{ARCHIVED} "
        self.filter_input.cursor_position = len(self.filter_input.value)

    def focus_filter(self) -> None:
        self.filter_input.focus()

    def neighbour(self, current: int | None, step: int) -> int | None:
        """The conversation `step` below (if negative, above) `current` in the list without a filter; the first one if
        `current` is not in it. None at the ends."""
        rows = rows_of(matching(self._items, ""), self._clock())
        ids = [row.id for row in rows if isinstance(row, ListedConversation)]
        place = ids.index(current) + step if current in ids else 0
        return ids[place] if 0 <= place < len(ids) else None

    @property
    def acted_on(self) -> tuple[int, ...]:
        """What a key is for while the list has the focus: the chosen conversations, or the highlighted one, in their order."""
        ids = self.conversations.acted_on if self.has_focus_within else frozenset[int]()
        return tuple(each.id for each in self._items if each.id in ids)

    # --- drawing

    def _draw(self) -> None:
        listed = self.conversations
        self._drawn_at = self._clock()
        rows = rows_of(matching(self._items, self.filter_input.value), self._drawn_at)
        if (
            not rows and listed.has_focus
        ):  # it is hidden; the filter is why it is empty, and esc there clears it
            self.filter_input.focus()
        self.set_class(not rows, "-empty")
        if not rows:
            self.query_one("#history-empty", Static).update(self._nothing())
        highlighted, place, scroll_y = listed.highlighted_id, listed.highlighted, listed.scroll_y
        listed.highlighted = None  # a row that may not be there any more
        listed.show_rows(rows, self._current, self._mark_of)
        self._restore(highlighted, place, scroll_y)

    def _nothing(self) -> str:
        if not self._items:
            return "No conversations yet."
        if self.filter_input.value.strip().lower() == ARCHIVED:
            return "No conversation is archived."
        return "No title matches." if self.filter_input.value.strip() else "Every conversation is archived."

    def _restore(self, highlighted: int | None, place: int | None, scroll_y: float) -> None:
        """Restore highlight and scroll position; a row that has gone is replaced by its neighbour.

        While the focus is elsewhere, the open conversation is highlighted.
        """
        listed = self.conversations
        is_in_use = self.has_focus_within
        found = listed.place_of(highlighted) if is_in_use else None
        if found is None and (place is None or not is_in_use):
            found = listed.place_of(self._current)
        listed.highlight_near(found if found is not None else place or 0)
        listed.scroll_to(y=scroll_y, animate=False, force=True, immediate=True)

    # --- events from the parts

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._draw()
        if event.value:  # Enter opens the first match, not the row highlighted before
            self.conversations.action_first()

    @on(Input.Submitted)
    def _filter_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.conversations.action_select()

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

    @on(ConversationList.Opened)
    def _conversation_opened(self, event: ConversationList.Opened) -> None:
        event.stop()
        self.post_message(self.ConversationChosen(event.id))

    @on(ConversationList.ChoiceChanged)
    def _choice_changed(self) -> None:
        self._subtitle()

    def _subtitle(self, words: str = "") -> None:
        count = len(self.conversations.chosen)
        self.border_subtitle = words or (f"{count:,} chosen" if count else "")

    @on(ConversationList.Commanded)
    def _commanded(self, event: ConversationList.Commanded) -> None:
        event.stop()
        listed = self.conversations
        count = len(listed.chosen)
        what = f"again deletes {count:,}" if count > 1 else "press delete again"
        self._subtitle(what if event.command == "ask" else "")
        if event.command == "rename":
            if listed.highlighted_id is None:
                self.app.bell()
            else:
                self.post_message(self.RenameRequested(listed.highlighted_id))
        elif event.command == "delete":
            self.post_message(self.DeleteRequested(self.acted_on))
