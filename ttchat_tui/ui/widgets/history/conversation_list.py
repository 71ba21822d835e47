"""The rows of the list of conversations: highlighted with keys or mouse, chosen singly or several at once.

It draws only the rows that are on screen, from the list as it was read: ten thousand conversations cost no more than forty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import Reactive, reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.session import Mark
from ttchat_tui.ui.widgets.history.groups import GroupRow, HistoryRow, age_of
from ttchat_tui.ui.widgets.history.row_line import COMPONENTS, RowState, group_line, row_line


class ConversationList(ScrollView, can_focus=True):
    """Keys act on the highlighted conversation, through the panel. Letters are not keys here."""

    DEFAULT_CSS = "ConversationList { overflow-x: hidden; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = set(COMPONENTS)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "command('rename')", "rename", key_display="F2"),
        Binding("delete", "delete", "twice: delete", key_display="delete"),
        Binding("space", "choose", "choose", key_display="space"),
        Binding("asterisk", "choose_all", "Choose all", show=False),
        Binding("escape", "choose_none", "Choose none", show=False),
        Binding("shift+down", "choose_next(1)", "Choose down", show=False),
        Binding("shift+up", "choose_next(-1)", "Choose up", show=False),
        Binding("enter", "select", "Open", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("up", "move(-1)", "Up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("home", "first", "First", show=False),
        Binding("end", "last", "Last", show=False),
    ]

    highlighted: reactive[int | None] = reactive(None)
    """The row under the cursor, which is a conversation; None without any."""
    _hovered: reactive[int | None] = reactive(None)

    @dataclass
    class Opened(Message):
        """This conversation is to be opened."""

        id: int

    @dataclass
    class Commanded(Message):
        """A command: `rename`, `delete`, `ask` to confirm a deletion, or `keep`."""

        command: str

    class ChoiceChanged(Message):
        """Other conversations are chosen."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._current: int | None = None
        self._mark_of: Callable[[int], Mark] = lambda _: ""
        self.rows: Sequence[HistoryRow] = ()
        self.chosen: frozenset[int] = frozenset()
        """Several conversations that the next command is for; empty: it is for the highlighted one."""
        self._asked: frozenset[int] = frozenset()
        """The conversations that the next press of delete deletes."""

    def show_rows(
        self, rows: Sequence[HistoryRow], current: int | None, mark_of: Callable[[int], Mark]
    ) -> None:
        """Show other rows. The scroll position stays. Conversations that are not among them are no longer chosen."""
        self._current, self._mark_of = current, mark_of
        if rows != self.rows:
            self.rows = rows
            self._hovered = None
            self._set_height(len(rows))
            if self.chosen:
                self._choose(self.chosen & {row.id for row in rows if isinstance(row, ListedConversation)})
        self.refresh()

    def _set_height(self, rows: int) -> None:
        """Textual lays out the whole screen for another height (10 ms), which is needed only if the scrollbar comes or goes."""
        height = self.size.height
        if min(rows, self.virtual_size.height) > height > 0:
            self.set_reactive(cast("Reactive[Size]", ConversationList.virtual_size), Size(0, rows))
            self.vertical_scrollbar.window_virtual_size = rows
        else:
            self.virtual_size = Size(0, rows)

    def has_aged(self, drawn_at: float, now: float) -> bool:
        """Whether an age on screen is another than when it was drawn."""
        first = int(self.scroll_offset.y)
        return any(
            age_of(row.updated_at, drawn_at) != age_of(row.updated_at, now)
            for row in self.rows[first : first + self.size.height]
            if isinstance(row, ListedConversation)
        )

    def place_of(self, conversation_id: int | None) -> int | None:
        """The row of a conversation."""
        places = (
            place
            for place, row in enumerate(self.rows)
            if isinstance(row, ListedConversation) and row.id == conversation_id
        )
        return next(places, None)

    def highlight_near(self, place: int) -> None:
        """Highlight the conversation nearest to this row, of two the upper one; scroll no further than needed."""
        if not self.rows:
            self.highlighted = None
            return
        place = min(max(place, 0), len(self.rows) - 1)
        # No two headers follow each other, and after each there is a conversation.
        if isinstance(self.rows[place], GroupRow):
            place = place - 1 if place > 0 else place + 1
        self.highlighted = place

    @property
    def highlighted_id(self) -> int | None:
        """The conversation under the cursor."""
        row = self.rows[self.highlighted] if self.highlighted is not None else None
        return row.id if isinstance(row, ListedConversation) else None

    @property
    def acted_on(self) -> frozenset[int]:
        """What a command is for: the chosen conversations, or the highlighted one. Empty without any."""
        one = self.highlighted_id
        return self.chosen or (frozenset() if one is None else frozenset({one}))

    # --- drawing

    def render_line(self, y: int) -> Strip:
        place = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        if place >= len(self.rows):
            return Strip.blank(width, self.get_visual_style().rich_style)
        row = self.rows[place]
        if isinstance(row, GroupRow):
            pieces = group_line(row, width, self.get_visual_style)
        else:
            is_chosen = row.id in self.chosen
            is_current = row.id == self._current
            state = RowState(
                is_current,
                is_chosen,
                place == self.highlighted,
                place == self._hovered,
                self._mark_of(row.id),
            )
            pieces = row_line(row, state, self._clock(), width, self.get_visual_style)
        return Strip([Segment(text, style.rich_style) for text, style in pieces if text], width)

    def watch_highlighted(self, before: int | None, place: int | None) -> None:
        for each in (before, place):
            if each is not None:
                self.refresh_line(each)
        if place is not None and self.is_mounted:
            top = 0 if place == 1 else place  # with the first header
            self.scroll_to_region(
                Region(0, top, 1, place - top + 1), animate=False, force=True, immediate=True
            )

    def watch__hovered(self, before: int | None, place: int | None) -> None:
        for each in (before, place):
            if each is not None:
                self.refresh_line(each)

    # --- moving

    def action_move(self, step: int) -> None:
        """To the next conversation; from the end to the beginning."""
        if not self.rows:
            return
        place = self.highlighted if self.highlighted is not None else (-1 if step > 0 else 0)
        place = (place + step) % len(self.rows)
        if isinstance(self.rows[place], GroupRow):
            place = (place + step) % len(self.rows)
        self.highlighted = place

    def action_page(self, step: int) -> None:
        self.highlight_near((self.highlighted or 0) + step * self.scrollable_content_region.height)

    def action_first(self) -> None:
        self.highlight_near(0)

    def action_last(self) -> None:
        self.highlight_near(len(self.rows) - 1)

    def action_select(self) -> None:
        if (id := self.highlighted_id) is not None:
            self.post_message(self.Opened(id))

    def on_click(self, event: events.Click) -> None:
        """With shift or ctrl a click chooses, otherwise it opens."""
        place = self._place_under(event)
        if place is None:
            return
        event.stop()
        self.highlighted = place
        if event.shift or event.ctrl:
            self._toggle()
        else:
            self.action_select()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self._hovered = self._place_under(event)

    def on_leave(self) -> None:
        self._hovered = None

    def _place_under(self, event: events.MouseEvent) -> int | None:
        """The row of the conversation under the mouse."""
        place = event.y + self.scroll_offset.y
        is_row = 0 <= place < len(self.rows) and not isinstance(self.rows[place], GroupRow)
        return place if is_row else None

    # --- choosing several

    def action_choose(self) -> None:
        """Choose the highlighted conversation, or no longer, and move on."""
        self._toggle()
        if self.highlighted is not None and self.highlighted < len(self.rows) - 1:
            self.action_move(1)

    def action_choose_next(self, step: int) -> None:
        """Choose the highlighted conversation and the next one."""
        if (id := self.highlighted_id) is None:
            return
        at_end = self.highlighted == (len(self.rows) - 1 if step > 0 else 1)
        if not at_end:
            self.action_move(step)
        self._choose(self.chosen | {id, self.highlighted_id or id})

    def action_choose_all(self) -> None:
        """Choose all that are shown; if they are chosen already, none."""
        shown = frozenset(row.id for row in self.rows if isinstance(row, ListedConversation))
        self._choose(frozenset() if self.chosen == shown else shown)

    def action_choose_none(self) -> None:
        self._choose(frozenset())

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.chosen) if action == "choose_none" else super().check_action(action, parameters)

    def _toggle(self) -> None:
        if (id := self.highlighted_id) is not None:
            self._choose(self.chosen ^ {id})

    def _choose(self, chosen: frozenset[int]) -> None:
        if chosen != self.chosen:
            self.chosen = chosen
            self.refresh()
            self.post_message(self.ChoiceChanged())

    # --- commands

    def action_command(self, command: str) -> None:
        self.post_message(self.Commanded(command))

    def action_delete(self) -> None:
        """The first press asks; a second one right after it deletes."""
        if not self.acted_on:
            self.app.bell()
        elif self._asked == self.acted_on:
            self._asked = frozenset()
            self.post_message(self.Commanded("delete"))
        else:
            self._asked = self.acted_on
            self.post_message(self.Commanded("ask"))

    def on_key(self, event: events.Key) -> None:
        if event.key != "delete":
            self._keep()

    def on_blur(self) -> None:
        self._keep()

    def on_mouse_down(self) -> None:
        self._keep()

    def _keep(self) -> None:
        if self._asked:
            self._asked = frozenset()
            self.post_message(self.Commanded("keep"))
