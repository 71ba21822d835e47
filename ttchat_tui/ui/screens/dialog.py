"""The base of all dialogs: a titled box over the chat. Escape or a click beside it closes it without a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, TypeVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.textual_patches.dimmed_backdrop import DimmingScreen

Result = TypeVar("Result")

CLOSES: Final = "esc closes"
MOST_PREVIEWED: Final = 2_000
"""Characters of a text in a preview, which is drawn again with each key."""


class DialogBox(Vertical):
    """The box itself; looks are in styles/dialogs.tcss."""


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
