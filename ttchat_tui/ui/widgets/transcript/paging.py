"""Scrolling by lines and pages of text, exact while messages are mounted and removed around the view."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Final

from textual import events
from textual.widget import AwaitMount
from textual.widgets import Static

from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.place import place_at
from ttchat_tui.ui.widgets.transcript.selection import MessageSelection
from ttchat_tui.ui.widgets.transcript.window import Window

NEAR: Final = 2
"""Scrolling down to within so many rows of the end follows it again."""


class Paging(MessageSelection):
    """A base of `Transcript`, which has the attributes used here and calls `apply_moves` after each layout."""

    _moves: list[int]
    """Lines to scroll, by key, in order. What is not mounted yet delays them."""
    _is_moving = False
    _placeholder: Static

    @property
    def rows_of_text(self) -> int:
        """Rows of what is shown; more than the height where a part is scrolled out."""
        texts = [each.region for each in self._mounted()] or [self._placeholder.content_region]
        return max(each.bottom for each in texts) - self.region.y + self.scroll_offset.y

    def scroll_lines(self, lines: int) -> None:
        """Scroll down, or up if negative, by so many lines of text."""
        self._moves.append(lines)
        self.apply_moves()

    def apply_moves(self) -> None:
        """Scroll as far as there is mounted text; mount more if that is too little. The layout that follows goes on."""
        while self._moves and all(message.is_laid_out for message in self._mounted()):
            y = round(self.scroll_y) + self._moves[0]
            if y < 0 and self._window.first > 0:
                self._move_to(self._window_above())
                return
            if y > self.max_scroll_y and self._window.end < len(self._views):
                self._move_to(self._window_below())
                return
            is_at_end = self._window.end == len(self._views) and y >= self.max_scroll_y - NEAR
            self.scroll_to(y=self.max_scroll_y if is_at_end and self._moves[0] > 0 else y)
            del self._moves[0]

    def scroll_up(self, **_: Any) -> None:
        self.scroll_lines(-1)

    def scroll_down(self, **_: Any) -> None:
        self.scroll_lines(1)

    def scroll_page_up(self, **_: Any) -> None:
        self.scroll_lines(-self.size.height)

    def scroll_page_down(self, **_: Any) -> None:
        self.scroll_lines(self.size.height)

    def scroll_to(self, x: float | None = None, y: float | None = None, **options: Any) -> None:
        """Scroll at once: in an animation, or after the next layout, `y` would be another line."""
        super().scroll_to(x, y, **{**options, "animate": False, "immediate": True})

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, -1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1)

    def _wheel(self, event: events.MouseEvent, step: int) -> None:
        if not (event.ctrl or event.shift):  # these scroll to the side
            event.stop().prevent_default()
            self.scroll_lines(step * round(self.app.scroll_sensitivity_y))

    def keep_frame(self, mounts: Sequence[AwaitMount]) -> None:
        """Draw nothing new until these messages can be drawn: without others between them, the view would be blank."""
        frame = ExitStack()
        frame.enter_context(self.app.batch_update())

        async def draw_when_mounted() -> None:
            with frame:
                for mount in mounts:
                    await mount

        self.call_next(draw_when_mounted)

    def _grow_up(self) -> None:
        self._grow(self._window_above())

    def _grow_down(self) -> None:
        self._grow(self._window_below())

    def _grow(self, window: Window) -> None:
        """Move the window when the reader comes near its end, one step at a time."""
        if window != self._window and not self._is_moving:
            self._is_moving = True
            self._move_to(window)
            self.call_after_refresh(self._end_move)

    def _end_move(self) -> None:
        self._is_moving = False

    def _window_above(self) -> Window:
        """The window with older messages, and a screen below the view."""
        return windows.moved_up(self._views, self._window, self._index_at(2 * self.size.height))

    def _window_below(self) -> Window:
        """The window with newer messages, and those in view."""
        return windows.moved_down(self._views, self._window, self._index_at(0))

    def _index_at(self, row: int) -> int | None:
        """The index of the message at this row of the view, or of the last one laid out before it; None without any."""
        messages = self._mounted()
        place = place_at(messages, round(self.scroll_y) + row)
        return None if place is None else self._window.first + list(messages).index(place.message)
