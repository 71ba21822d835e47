"""Selection of a message in the transcript, or of several in a row, by key or mouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message

from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.place import Place, place_at
from ttchat_tui.ui.widgets.transcript.views import Views
from ttchat_tui.ui.widgets.transcript.window import Window

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class MessageSelection(VerticalScroll):
    """A base of `Transcript`, which has the attributes used here and calls `mark_selected` for new widgets."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("shift+up", "screen.extend_up", show=False),
        Binding("shift+down", "screen.extend_down", show=False),
    ]

    _views: Views
    _window: Window
    _widgets: dict[int, MessageWidget]
    _place: Place | None
    _selected: int | None = None
    _range_start: int | None = None
    """The other end of a selected range; None: one message is selected."""
    _prompt_marks: Mapping[int, str] = MappingProxyType({})

    class SelectionChanged(Message):
        """Another message is selected, or none."""

    @property
    def selected(self) -> int | None:
        """The key of the selected message; of a range, the end that moves."""
        return self._selected

    @property
    def selected_keys(self) -> list[int]:
        """The keys of all selected messages, in order."""
        keys = self._selectable()
        if self._selected not in keys:
            return []
        at = keys.index(self._selected)
        start = keys.index(self._range_start) if self._range_start in keys else at
        return keys[min(at, start) : max(at, start) + 1]

    def _selectable(self) -> list[int]:
        return self._views.message_keys

    def select(self, key: int | None) -> None:
        """Select the message `key`, or none. Does not scroll."""
        self._set_selection(key, None)

    def _set_selection(self, key: int | None, range_start: int | None) -> None:
        self._selected, self._range_start = key, range_start
        self.mark_selected()
        self.post_message(self.SelectionChanged())

    def set_context(self, marks: Mapping[int, str]) -> None:
        """Words about what messages are to the next prompt, by key: `kept`; any other word dims a message."""
        if marks != self._prompt_marks:
            self._prompt_marks = dict(marks)
            self.mark_selected()

    def mark_selected(self) -> None:
        """Highlight the selected messages, and show what messages are to the next prompt, on those that are mounted."""
        chosen = set(self.selected_keys) if self._selected is not None else set()
        for key, widget in self._widgets.items():
            widget.set_class(key in chosen, "-selected")
            widget.show_mark(self._prompt_marks.get(key, ""))

    def select_neighbour(self, step: int) -> None:
        """Select the message above (-1) or below (1), and bring it into view. Without a selection, select the last message
        in view. Below the last message, deselect and follow the end again."""
        keys = self._selectable()
        if not keys:
            return
        if self._selected in keys:
            at = max(0, keys.index(self._selected) + step)
        else:
            seen = self._last_in_view()
            at = keys.index(seen) if seen in keys else len(keys) - 1
        if at >= len(keys):
            self.select(None)
            self.follow()
            return
        self.select(keys[at])
        self.bring_into_view(keys[at])

    def extend_selection(self, step: int) -> None:
        """Add the message above (-1) or below (1) to the selection, or take the last one added off it. Without a selection,
        select the last message in view."""
        if self._selected is None:
            self.select_neighbour(step)
            return
        keys = self._selectable()
        at = max(0, min(len(keys) - 1, keys.index(self._selected) + step)) if self._selected in keys else 0
        start = self._selected if self._range_start is None else self._range_start
        self._set_selection(keys[at], start if start != keys[at] else None)
        self.bring_into_view(keys[at])

    def follow(self) -> None:
        """Scroll to the end and keep it in view."""
        raise NotImplementedError

    def hold(self, place: Place) -> None:
        """Keep this line at the top of the view."""
        raise NotImplementedError

    def _move_to(self, window: Window) -> None:
        raise NotImplementedError

    def _mounted(self) -> Sequence[MessageWidget]:
        raise NotImplementedError

    def _last_in_view(self) -> int | None:
        place = place_at(self._mounted(), round(self.scroll_y) + self.size.height - 1)
        return place.message.view.key if place else None

    def mount_around(self, key: int) -> None:
        """Mount the message `key` with its neighbours, if it is not."""
        at = self._views.place_of(key)
        assert at is not None
        if not self._window.first <= at < self._window.end:
            self._move_to(windows.around(self._views, at))

    def bring_into_view(self, key: int) -> None:
        """Scroll to the message's header, unless the whole message is in view."""
        self.mount_around(key)
        message = self._widgets[key]
        region, bottom = message.virtual_region, self.scroll_y + self.size.height
        if region.height and self.scroll_y <= region.y and region.bottom <= bottom:
            return
        self.hold(Place(message, -1, 0))

    def toggle_files(self, key: int) -> None:
        """Unfold the files of a message, or fold them if one is unfolded, and show the message from its top."""
        self.mount_around(key)
        self._widgets[key].toggle_files()
        self.bring_into_view(key)

    def show_line(self, message: MessageWidget, place: tuple[int, int]) -> None:
        """Bring a line of a message into view; `place` as in `MessageWidget.row_at`."""
        y = message.y_of(*place)
        top = message.virtual_region.y + y
        if message.virtual_region.height and self.scroll_y <= top < self.scroll_y + self.size.height - 1:
            return
        above = max(0, y - self.size.height // 3)
        self.hold(Place(message, *message.row_at(above)) if above else Place(message, -1, 0))

    def on_click(self, event: events.Click) -> None:
        """A click selects or deselects a message, unless it ends a selection of text."""
        if event.button != 1 or event.chain != 1 or self.screen.selections:
            return
        clicked = set(event.widget.ancestors_with_self) if event.widget is not None else set()
        key = next((key for key, widget in self._widgets.items() if widget in clicked), None)
        self.select(key if key != self._selected and key in self._selectable() else None)


def is_selectable(view: MessageView) -> bool:
    """Notices are not part of the conversation."""
    return view.role != "notice"
