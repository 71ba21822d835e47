"""The stop strings, edited as one line of text."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Label

from ttchat_tui.ui.widgets.line_field import LineField
from ttchat_tui.ui.widgets.sampling.stop_strings import (
    StopStringsError,
    format_stop_strings,
    parse_stop_strings,
)


class StopField(Vertical):
    """A label and an input; an error is shown below it until the text is valid.

    Enter and leaving the field commit a valid text; Escape restores the last one.
    """

    DEFAULT_CSS = """
    StopField { height: auto; }
    StopField > Horizontal { height: 1; }
    StopField Label { width: 12; }
    StopField Input { width: 1fr; }
    StopField > .stop-field--error { width: 1fr; height: auto; display: none; }
    StopField.-invalid > .stop-field--error { display: block; }
    """

    @dataclass
    class Changed(Message):
        """The user committed other stop strings."""

        field: StopField
        strings: tuple[str, ...]

        @property
        def control(self) -> StopField:
            return self.field

    def __init__(self, label: str = "stop", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strings: tuple[str, ...] = ()
        self._input = LineField(placeholder="none", compact=True)
        self._error = Label("", classes="stop-field--error", markup=False)
        self._label = label

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(self._label, markup=False)
            yield self._input
        yield self._error

    @property
    def strings(self) -> tuple[str, ...]:
        return self._strings

    def set_strings(self, strings: tuple[str, ...]) -> None:
        """Show other stop strings. Posts nothing; a text that is being edited stays if they have not changed."""
        if strings != self._strings:
            self._strings = strings
            self._show_text()

    def _show_text(self) -> None:
        self._input.value = format_stop_strings(self._strings)
        self.remove_class("-invalid")

    @property
    def _is_edited(self) -> bool:
        return self._input.value != format_stop_strings(self._strings)

    @on(Input.Changed)
    def _clear_error(self, event: Input.Changed) -> None:
        event.stop()
        self.remove_class("-invalid")

    @on(Input.Submitted)
    @on(Input.Blurred)
    def _commit(self, event: Input.Submitted | Input.Blurred) -> None:
        event.stop()
        try:
            strings = parse_stop_strings(self._input.value)
        except StopStringsError as error:
            self._error.update(Content(str(error)))
            self.add_class("-invalid")
            return
        is_changed = strings != self._strings
        self._strings = strings
        self._show_text()
        if is_changed:
            self.post_message(self.Changed(self, strings))

    def on_key(self, event: events.Key) -> None:
        if event.key == "escape" and (self._is_edited or self.has_class("-invalid")):
            event.stop()
            self._show_text()
