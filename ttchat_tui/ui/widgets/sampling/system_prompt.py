"""The system prompt: a small text area that reports its text after a pause."""

from __future__ import annotations

from dataclasses import dataclass

from textual import on
from textual.binding import Binding
from textual.events import Key
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea
from textual.widgets.text_area import Selection

from ttchat_tui.ui.widgets.visible_area import VisibleArea

PAUSE_S = 0.6
"""Pause in typing, in seconds, after which the text is reported."""


class SystemPrompt(VisibleArea):
    """Posts `Edited` when the user pauses or leaves, if the text differs from the last reported or set one.

    Tab leaves the field.
    """

    DEFAULT_CSS = """
    SystemPrompt { height: 5; }
    """

    @dataclass
    class Edited(Message):
        """The user changed the system prompt."""

        area: SystemPrompt
        text: str

        @property
        def control(self) -> SystemPrompt:
            return self.area

    @dataclass
    class Left(Message):
        """Tab was pressed in this, the last field: move to the prompt."""

    BINDINGS = [Binding("tab", "leave", "To the prompt", show=False)]

    def __init__(self, *, placeholder: str = "", pause_s: float = PAUSE_S, id: str | None = None) -> None:
        super().__init__(
            id=id,
            compact=True,
            soft_wrap=True,
            tab_behavior="focus",
            placeholder=placeholder,
            show_line_numbers=False,
        )
        self._reported = ""
        self._pause_s = pause_s
        self._timer: Timer | None = None

    def set_text(self, text: str) -> None:
        """Show another system prompt. Posts nothing and discards unreported edits.

        Setting the last reported or set text again changes nothing: edits stay.
        """
        if text != self._reported:
            self._reported = text
            self.load_text(text)

    def put_in_place(self, text: str) -> None:
        """Show another system prompt in place of this one, which ctrl+z brings back. Posts nothing."""
        if text != self.text:
            self._reported = text
            self.replace(text, (0, 0), self.document.end)

    @on(TextArea.Changed)
    def _begin_pause(self, event: TextArea.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = None if self.text == self._reported else self.set_timer(self._pause_s, self.report)

    def action_leave(self) -> None:
        self.report()
        self.post_message(self.Left())

    async def on_key(self, event: Key) -> None:
        """Ignore enter at the start. On other rows it opens the row; here it would put a blank line first."""
        if event.key == "enter" and self.selection == Selection.cursor((0, 0)):
            event.prevent_default()
            event.stop()

    def on_blur(self) -> None:
        self.report()

    def report(self) -> None:
        """Post unreported changes now."""
        if self.text != self._reported:
            self._reported = self.text
            self.post_message(self.Edited(self, self.text))
