"""The conversation on screen: streaming, scrolling, following the end, and mounting only nearby messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace
from textual import events
from textual.await_remove import AwaitRemove
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import Reactive
from textual.scrollbar import ScrollBar
from textual.widget import AwaitMount, Widget
from textual.widgets import Static

from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.ui import deferred
from ttchat_tui.ui.textual_patches.no_second_layout import NoSecondLayout
from ttchat_tui.ui.textual_patches.privates import DockArrangeResult
from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.folding import Folding, MessageThoughts, ThoughtDisplay
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.new_text_pill import NewTextPill
from ttchat_tui.ui.widgets.transcript.paging import NEAR, Paging
from ttchat_tui.ui.widgets.transcript.place import Place, end_of, lines_since, place_at, y_of
from ttchat_tui.ui.widgets.transcript.text_selection import TextSelection
from ttchat_tui.ui.widgets.transcript.views import Entry, Views
from ttchat_tui.ui.widgets.transcript.window import Window

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class Transcript(NoSecondLayout, Paging, MessageThoughts, TextSelection):
    """Messages by key, in order.

    `feed` only stores text; `flush` draws it, at a cost independent of the text so far. While it follows, the end stays in
    view; otherwise the line at the top of the view stays in place.
    """

    COMPONENT_CLASSES = {
        "md-code", "md-link", "md-faint", "md-bar", "md-marker", "md-h1", "md-h2", "md-h3", "md-h4", "md-h5", "md-h6",
        "md-math", "md-block", "md-label", "md-deleted", "md-comment", "md-keyword", "md-number", "md-string", "md-builtin",
        "md-name", "role-user", "role-assistant", "role-system", "role-notice", "note", "note-error", "hit", "hit-current",
    }  # fmt: skip

    DEFAULT_CSS = """
    Transcript { layers: base pill; }
    Transcript NewTextPill { layer: pill; }
    Transcript #placeholder { width: 1fr; height: auto; }
    """

    @dataclass
    class CopyRequested(Message):
        """The reader wants `text` in the clipboard."""

        text: str

    def __init__(
        self, make_view: Callable[[int], MessageView] | None = None, *, thoughts: ThoughtDisplay = "fold"
    ) -> None:
        """`make_view` makes the view of a message of which `show` got the key."""
        super().__init__()
        self.folding = Folding(thoughts)
        self.is_following = True
        self._views = Views([], make_view or {}.__getitem__)
        self._window = Window(0, 0)
        self._widgets: dict[int, MessageWidget] = {}
        self._fed: dict[int, str] = {}
        """Text of streaming messages that is not drawn yet."""
        self._place: Place | None = None
        self._seen: Place | None = None
        """The end of the text when the reader scrolled away from it."""
        self._held_y = 0.0
        self._moves = []
        self._frame_s = 0.0
        self._pill = NewTextPill()
        self._placeholder = Static(id="placeholder", markup=False)
        self._placeholder.display = False

    def compose(self) -> list[Widget]:
        return [self._placeholder, *self._widgets.values(), self._pill]

    # --- messages

    def show(self, messages: Sequence[Entry], *, kept: int = 0, at: int | None = None) -> None:
        """Show these messages, views or keys, after the first `kept` ones, scrolled to the message `at`, or
        to the end. Only the nearest are mounted."""
        self._views = self._views.begin_with(kept, messages)
        above = set(self._views.message_keys[:kept])
        self._fed.clear()
        self._moves.clear()
        self._place = self._seen = self._selected = self._at_hit = None
        place = self._views.place_of(at) if at is not None else None
        near = windows.near(self._views, place, self.size) if place is not None else None
        window = near or windows.newest(self._views, self.size)
        self._move_to(window, known=above)
        if window.end == len(self._views):
            self.follow()
        if self._matcher is not None:
            self._announce_hits(self._hit_keys())

    def set_placeholder(self, content: Content | None) -> None:
        """Set the text of an empty transcript; None for none."""
        self._placeholder.display = content is not None
        self._placeholder.update(content or "")

    def add(self, view: MessageView) -> None:
        """Append a message, or replace the one with the same key."""
        index = self._views.place_of(view.key)
        if index is not None:
            self._views[index] = view
            self._redraw(view)
            return
        self._views.append(view)
        if self._window.end < len(self._views) - 1:
            self._mark_unseen()
            return
        window = Window(self._window.first, len(self._views))
        if self.is_following:
            window = windows.trimmed(self._views, window, keep=len(self._views) - 1)
        self._move_to(window)
        self._mark_unseen()

    def remove(self, key: int | None = None) -> AwaitRemove:
        """Remove the message `key`; without a key, the transcript itself, as in `Widget`."""
        if key is None:
            return super().remove()
        index = self._views.place_of(key)
        if index is None:
            return self.remove_children([])
        del self._views[index]
        self._fed.pop(key, None)
        if key == self._selected:
            self._selected = None
        first, end = self._window.first, self._window.end
        self._window = Window(first - (index < first), end - (index < end))
        widget = self._widgets.pop(key, None)
        removal = self.remove_children([widget] if widget else [])
        if widget is not None:
            self._move_to(windows.filled(self._views, self._window))
        return removal

    def update(self, view: MessageView) -> None:
        """Update everything but the text: title, time, status, figures, note."""
        index = self._views.place_of(view.key)
        if index is None:
            return
        view = replace(view, text=self._views[index].text)
        self._views[index] = view
        if widget := self._widgets.get(view.key):
            widget.show(view)

    # --- streaming

    def begin(self, view: MessageView) -> None:
        """Start a reply, or continue it after `view.text`."""
        self._fed.pop(view.key, None)
        self.add(replace(view, status="streaming"))

    def feed(self, key: int, text: str) -> None:
        """Store more text of a streaming message; `flush` draws it."""
        self._fed[key] = self._fed.get(key, "") + text

    def set_note(self, key: int, note: str) -> None:
        """Show a few words under a message; empty for none."""
        index = self._views.place_of(key)
        if index is None or self._views[index].note == note:
            return
        view = self._views[index] = replace(self._views[index], note=note)
        if widget := self._widgets.get(key):
            widget.show(view)

    def rewrite(self, key: int, text: str, thoughts: tuple[ThoughtFigures, ...] = ()) -> None:
        """Replace the whole text of a streaming message, and the figures of its thoughts."""
        index = self._views.place_of(key)
        if index is None:
            return
        self._fed.pop(key, None)
        view = self._views[index] = replace(self._views[index], text=text, thoughts=thoughts)
        self._redraw(view)

    def flush(self) -> float:
        """Draw the fed text. Returns CPU seconds: of this call, or of the last frame after a flush if that took longer."""
        if not self._fed:
            return 0.0
        start = time.thread_time()
        for key, text in self._fed.items():
            index = self._views.place_of(key)
            if index is None or not text:
                continue
            view = self._views[index]
            self._views[index] = replace(view, text=view.text + text)
            if widget := self._widgets.get(key):
                widget.feed(text)
        self._fed.clear()
        self._mark_unseen()
        self.call_after_refresh(self._note_frame, start)
        return max(time.thread_time() - start, self._frame_s)

    def finish(self, view: MessageView) -> None:
        """The reply is complete. What is shown then equals a full parse of `view.text`."""
        self.flush()
        index = self._views.place_of(view.key)
        if index is None:
            self.add(view)
            return
        source = self._views[index].text
        self._views[index] = view
        if widget := self._widgets.get(view.key):
            widget.finish(view, source)

    def _note_frame(self, start: float) -> None:
        self._frame_s = time.thread_time() - start

    # --- copying

    def source_of(self, key: int) -> str:
        """The message's source, undrawn text included. Raises KeyError: no such message."""
        index = self._views.place_of(key)
        if index is None:
            raise KeyError(key)
        return self._views[index].text + self._fed.get(key, "")

    def last_reply_source(self) -> str:
        """The `shown_source` of the newest reply with text; empty if there is none."""
        replies = (self.shown_source(view.key) for view in reversed(self._views) if view.role == "assistant")
        return next(filter(None, replies), "")

    def on_message_chunk_code_header_clicked(self, event: MessageChunk.CodeHeaderClicked) -> None:
        event.stop()
        message = event.chunk.parent
        if isinstance(message, deferred.message_widget.MessageWidget):
            code = deferred.fenced_code.code_at(self.source_of(message.view.key), event.code_index)
            if code is not None:
                self.post_message(self.CopyRequested(code))

    # --- scrolling

    def follow(self) -> None:
        """Show the end, and keep it in view from now on."""
        self._moves.clear()
        if self._window.end < len(self._views):
            self._move_to(windows.newest(self._views, self.size))
        self._set_following(True)
        self.refresh(layout=True)

    def action_scroll_end(self) -> None:
        self.follow()

    def action_scroll_home(self) -> None:
        self._moves.clear()
        self._set_following(False)
        self._place = None
        self._move_to(windows.oldest(self._views))
        self._held_y = 0.0
        self.scroll_to(y=0)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value == self._held_y:
            return
        self._held_y = new_value
        self._place = place_at(self._mounted(), round(new_value))
        if new_value < old_value:
            self._set_following(False)
            if new_value <= self.size.height:
                self._grow_up()
        elif self._window.end < len(self._views):
            if new_value >= self.max_scroll_y - self.size.height:
                self._grow_down()
        elif new_value >= self.max_scroll_y - NEAR:
            self._set_following(True)

    def arrange(self, size: Size, optimal: bool = False) -> DockArrangeResult:
        """Arrange the messages, and scroll in the same frame to keep the reader's line or the end in place."""
        result = super().arrange(size, optimal)
        if optimal or not self.is_attached:
            return result
        bottom = max(0, result.total_region.bottom - size.height)
        y: float = bottom
        if not self.is_following:
            tops = {placement.widget: placement.region.y for placement in result.placements}
            kept = y_of(self._place, tops) if self._place is not None else None
            y = min(self.scroll_y if kept is None else kept, bottom)
            self.call_after_refresh(self._announce_unseen)
        elif bottom < size.height and self._window.first > 0:
            self.call_after_refresh(self._grow_up)  # less than two screens: scrolling up would not work
        self._hold(y)
        if self._moves:
            self.call_after_refresh(self.apply_moves)
        return result

    def stop_following(self) -> None:
        self._set_following(False)

    def hold(self, place: Place) -> None:
        self._moves.clear()
        self._set_following(False)
        self._place = place
        self.refresh(layout=True)

    def _hold(self, y: float) -> None:
        """Scroll without a second layout, as the compositor does for an anchored widget."""
        self._held_y = y
        self.set_reactive(cast("Reactive[float]", Widget.scroll_y), y)
        self.set_reactive(cast("Reactive[float]", Widget.scroll_target_y), y)
        self.vertical_scrollbar.set_reactive(cast("Reactive[float]", ScrollBar.position), y)

    def on_resize(self, event: events.Resize) -> None:
        self._pill.place_in(event.size.width)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self._pill:
            event.stop().prevent_default()  # it selects no message
            self.follow()

    def _set_following(self, is_following: bool) -> None:
        if is_following:
            self._seen = None
            self._pill.display = False
        if self.is_following == is_following:
            return
        self.is_following = is_following
        if not is_following:
            self._place = place_at(self._mounted(), round(self.scroll_y))
            self._seen = end_of(self._mounted())

    def _mark_unseen(self) -> None:
        if not self.is_following and not self._pill.display:
            self._pill.announce(0)

    def _announce_unseen(self) -> None:
        """Show the number of new lines, if they are mounted and laid out."""
        if not self.is_following and self._pill.display:
            is_end_mounted = self._window.end == len(self._views)
            is_known = self._seen is not None and is_end_mounted
            self._pill.announce(lines_since(self._seen, self._mounted()) if is_known else 0)

    # --- mounting

    def _mounted(self) -> list[MessageWidget]:
        return [
            self._widgets[view.key]
            for view in self._views[self._window.first : self._window.end]
            if view.key in self._widgets
        ]

    def _new_widget(self, view: MessageView) -> MessageWidget:
        return deferred.message_widget.MessageWidget(view, self.folding)

    def _redraw(self, view: MessageView) -> None:
        """Replace the widget of an older version of `view`."""
        old = self._widgets.get(view.key)
        if old is None:
            return
        fresh = self._widgets[view.key] = self._new_widget(view)
        if self.is_attached:
            self.mount(fresh, after=old)
            old.remove()
        self.mark_selected()

    def _move_to(self, window: Window, *, known: Set[int] | None = None) -> None:
        """Mount messages that enter the window and remove those that leave it. All but the `known` ones are different ones
        now, whatever their keys are."""
        self._window = window
        wanted = self._views[window.first : window.end]
        keys = {view.key for view in wanted if known is None or view.key in known}
        gone = [widget for key, widget in self._widgets.items() if key not in keys]
        kept = {key: widget for key, widget in self._widgets.items() if key in keys}
        self._widgets = {view.key: kept.get(view.key) or self._new_widget(view) for view in wanted}
        self.mark_selected()
        if self._pill.is_attached:
            with self.app.batch_update():
                if gone:
                    self.remove_children(gone)
                mounts = self._mount_missing(kept)
                if gone and not kept:
                    self.keep_frame(mounts)

    def _mount_missing(self, kept: dict[int, MessageWidget]) -> list[AwaitMount]:
        """Mount the widgets that are not in `kept`, in runs, each before the next kept widget."""
        run: list[Widget] = []
        mounts: list[AwaitMount] = []
        for key, widget in self._widgets.items():
            if key not in kept:
                run.append(widget)
            elif run:
                mounts.append(self.mount(*run, before=widget))
                run = []
        if run:
            mounts.append(self.mount(*run, before=self._pill))
        return mounts
