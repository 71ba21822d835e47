"""The base of all dialogs: a titled box over the chat. Escape or a click beside it closes it without a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.notifications import Notification
from textual.screen import Screen

from ttchat_tui.domain.text import visible
from ttchat_tui.ui import toasts
from ttchat_tui.ui.textual_patches.app import PatchedApp
from ttchat_tui.ui.textual_patches.dimmed_backdrop import DimmingScreen

Result = TypeVar("Result")

CLOSES: Final = "esc closes"
MOST_PREVIEWED: Final = 2_000
"""Characters of a text in a preview, which is drawn again with each key."""


LEAST_BESIDE: Final = 4
"""Cells of the chat on each side of a box. Of fewer, ends of words and corners of borders would be left."""


class DialogBox(Vertical):
    """The box itself; looks are in styles/dialogs.tcss."""

    def fit(self, screen_width: int) -> None:
        """Take the whole width of a screen that is hardly wider than the box."""
        wanted = self.styles.base.width
        if wanted is not None and wanted.cells is not None:
            is_beside = wanted.cells + 2 * LEAST_BESIDE <= screen_width
            self.styles.width = wanted.cells if is_beside else screen_width


class Dialog(DimmingScreen[Result | None]):
    """Subclasses fill `body`. The result None means that the user cancelled."""

    heading = ""
    keys = CLOSES
    """The line of keys at the bottom of the box."""
    help_lines: ClassVar[Sequence[tuple[str, str]]] = ()
    """What the help (F1) says about this screen after its bindings: keys of Textual's widgets, or signs, and words. A widget
    with keys of its own has `help_title` and may have `help_lines` too."""
    BINDINGS = [Binding("escape", "cancel", "Close", show=False)]

    def body(self) -> ComposeResult:
        """The widgets inside the box."""
        yield from ()

    def compose(self) -> ComposeResult:
        with DialogBox() as box:
            box.border_title = Content(self.heading)
            box.border_subtitle = Content(self.keys)
            yield from self.body()

    def on_mount(self) -> None:
        self._fit_boxes()
        self.screen_layout_refresh_signal.subscribe(self, self._layout_changed)

    def on_resize(self) -> None:
        self._fit_boxes()

    def _fit_boxes(self) -> None:
        for box in self.query_children(DialogBox):
            box.fit(self.app.size.width)

    def _layout_changed(self, _: Screen[object]) -> None:
        if self.is_current and isinstance(self.app, PatchedApp):
            self.place_toasts(self.app.shown_toasts())

    def place_toasts(self, shown: Sequence[Notification]) -> None:
        """Where they are on the screen below, or below the box, which makes room where there is none."""
        for box in self.query_children(DialogBox):
            if not shown:
                toasts.make_room(box, 0)
                return
            stack = self.app.screen_stack
            below = stack[stack.index(self) - 1] if self in stack else self
            rows, is_free, area = 0, False, self.size.region
            for area in (toasts.placed_in(below), self.size.region):
                rows = toasts.rows_of(shown, min(area.width, toasts.WIDTH) - 3)
                rows = max(0, min(rows, area.height - 2 * toasts.LEAST_LEFT))
                is_free = not box.styles.margin.bottom and box.region.bottom + rows <= area.bottom
                if is_free:
                    break
            toasts.make_room(box, 0 if is_free else rows)
            toasts.place(self, area, rows)

    def first_lines(self, text: str) -> str:
        """The lines of `text` for which a preview has room, a quarter of the screen."""
        rows = max(3, self.app.size.height // 4)
        return visible("\n".join(text[:MOST_PREVIEWED].split("\n")[:rows]))

    @property
    def is_open(self) -> bool:
        """It is mounted and neither dismissed nor leaving with the app. A second `dismiss` would close the screen below."""
        return self.is_mounted and self.app.is_running and self in self.app.screen_stack

    def action_cancel(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        # A click on the dimmed chat has the screen itself as its widget.
        if event.widget is self:
            self.action_cancel()
