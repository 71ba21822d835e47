"""The line in which the words to find in the open conversation are typed, and from which n and N walk the hits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from ttchat_tui.domain.text import counted
from ttchat_tui.ui.widgets.line_field import LineField

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.hits import MessageHits


class FindBar(Horizontal, can_focus=True):
    """Its field has the focus while words are typed; Enter gives it to the bar itself, where n and N are keys.
    Other letters go to the prompt."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "walk(1)", "next hit"),
        Binding("N,shift+n", "walk(-1)", "previous", key_display="N"),
        Binding("enter,down", "step(1)", "Next hit", show=False),
        Binding("up", "step(-1)", "Previous hit", show=False),
        Binding("escape", "close", "close", key_display="esc"),
    ]

    @dataclass
    class Changed(Message):
        """Other words are to be found."""

        text: str

    @dataclass
    class Stepped(Message):
        """The next (1) or the previous (-1) hit is wanted."""

        step: int

    class Closed(Message):
        """Escape."""

    def __init__(self) -> None:
        super().__init__()
        self._field = LineField(placeholder="Find in this conversation", compact=True)
        self._count = Static("", markup=False)

    def compose(self) -> ComposeResult:
        yield self._field
        yield self._count

    def open(self, text: str, *, to_walk: bool) -> None:
        """Show it with `text`: to walk the hits, or to type other words."""
        with self.prevent(Input.Changed):
            self._field.value = text
        self.display = True
        if to_walk:
            self.focus()
        else:
            self._field.focus()
            self._field.action_select_all()

    @property
    def text(self) -> str:
        return self._field.value

    def show_count(self, found: MessageHits.HitsChanged) -> None:
        place = f"{found.at:,} of " if found.at else ""
        hit = f"hit {found.hit:,} of {found.hits:,} · " if found.hits > 1 else ""
        words = f"{hit}{place}{counted(found.count, 'message')}" if found.count else "not found"
        self._count.update(words if self.text.strip() else "")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(event.value))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While words are typed, n and N are letters."""
        return self.has_focus if action == "walk" else super().check_action(action, parameters)

    def action_walk(self, step: int) -> None:
        self.action_step(step)

    def action_step(self, step: int) -> None:
        self.post_message(self.Stepped(step))

    def action_close(self) -> None:
        self.post_message(self.Closed())
