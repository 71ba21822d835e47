"""A focusable row `label … value` whose value can be stepped, typed and reset: the base of sliders and number fields."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from ttchat_tui.ui.widgets.cells import cut_at_start
from ttchat_tui.ui.widgets.sampling.line_edit import LineEdit

V = TypeVar("V")

GAP = 1
"""Cells between the columns of a row."""


class ValueRow(Widget, Generic[V], can_focus=True):
    """One row, drawn by `render` without child widgets; one column of labels, values aligned at the right edge.

    Setting `value` (`set_value`, `data_bind`) posts nothing; only the user's changes post `Changed`. While a value is
    typed, the row handles the keys of a line editor: Enter commits, Escape cancels, leaving the row commits a valid text.
    Other characters leave the row too: they are the prompt's.
    An invalid text stays beside the allowed range, and the row has the class `-rejected`.

    The wheel changes the value only if the row has the focus and is under the pointer; elsewhere it scrolls the panel.
    """

    ALLOW_SELECT = False
    LABEL_WIDTH: ClassVar[int] = 11
    VALUE_WIDTH: ClassVar[int] = 5
    TYPEABLE: ClassVar[str] = "0123456789"
    """The characters that a typed value may contain."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "value-row--label",
        "value-row--value",
        "value-row--modified",
        "value-row--edit",
        "value-row--cursor",
        "value-row--hint",
        "value-row--error",
    }

    DEFAULT_CSS = """
    ValueRow { width: 1fr; height: 1; min-width: 18; }
    ValueRow .value-row--cursor { text-style: reverse; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "step(-1)", "Less", show=False),
        Binding("right", "step(1)", "change", tooltip="More", key_display="← →"),
        Binding("shift+left", "step(-10)", "Much less", show=False),
        Binding("shift+right", "step(10)", "Much more", show=False),
        Binding("enter", "edit", "type", tooltip="Type a value", key_display="enter"),
        Binding("delete,backspace", "reset", "reset", tooltip="Back to the default", key_display="delete"),
    ]

    value: reactive[Any] = reactive(None)
    """The exact value, on the grid or off it."""
    default: reactive[Any] = reactive(None)
    """The value for reset. A different value is shown as modified."""

    def __init__(
        self,
        label: str,
        value: V,
        default: V,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(name=name, id=id, classes=classes, disabled=disabled)
        self.label = label
        self.set_reactive(ValueRow.value, value)
        self.set_reactive(ValueRow.default, default)
        self._edit: LineEdit | None = None

    # --- what subclasses define

    @abstractmethod
    def shown(self, value: V) -> str:
        """The value as text."""

    @abstractmethod
    def typed(self, text: str) -> V:
        """Parse a typed value. Raises ValueError if it is invalid or not allowed."""

    @abstractmethod
    def allowed_text(self) -> str:
        """The allowed range, in a few characters."""

    @abstractmethod
    def allowed_words(self) -> str:
        """The allowed range in words, for one that was typed outside it: `0 to 1`."""

    @abstractmethod
    def stepped(self, steps: int) -> V:
        """The value `steps` further; the same value at an end."""

    @abstractmethod
    def changed(self, value: V) -> Message:
        """The message to post for a change by the user."""

    # --- what a parent does

    def set_value(self, value: V) -> None:
        """Show another value; posts nothing."""
        self.value = value

    def set_default(self, default: V) -> None:
        """Set the value for reset. Posts nothing."""
        self.default = default

    @property
    def is_editing(self) -> bool:
        return self._edit is not None

    @property
    def is_modified(self) -> bool:
        return self.value != self.default

    # --- what the user does

    def change(self, value: V) -> None:
        """Set a value for the user, and post `Changed` if it differs."""
        if value != self.value:
            self.value = value
            self.post_message(self.changed(value))

    def action_step(self, steps: int) -> None:
        if not self.is_editing:
            self.change(self.stepped(steps))

    def action_reset(self) -> None:
        self.change(self.default)

    def action_edit(self) -> None:
        """Start typing with the current value, to replace or edit it."""
        self._begin(self.edit_text())

    def edit_text(self) -> str:
        """The text with which editing starts."""
        return self.shown(self.value)

    def _begin(self, text: str) -> None:
        self._edit = LineEdit(text, allowed=self.TYPEABLE)
        self.remove_class("-rejected")
        self.refresh()

    def _end(self) -> None:
        self._edit = None
        self.remove_class("-rejected")
        self.refresh()

    def _commit(self) -> bool:
        """Apply the typed value and stop editing. False, and still editing, if it is invalid."""
        assert self._edit is not None
        try:
            value = self.typed(self._edit.text.strip())
        except ValueError:
            self.add_class("-rejected")
            self.refresh()
            return False
        self._end()
        self.change(value)
        return True

    def on_key(self, event: events.Key) -> None:
        if self._edit is None:
            if event.character is None or event.character not in self.TYPEABLE or event.character == ".":
                return  # a full stop steps a paused reply, and values begin with a digit
            self._begin("")
        assert self._edit is not None
        if event.key == "enter":
            self._commit()
        elif event.key == "escape":
            self._end()
        elif self._edit.press(event.key):
            self._show_edit()
        elif event.character is not None and event.character in self.TYPEABLE:
            self._edit.insert(event.character)
            self._show_edit()
        else:
            return  # tab, up, down, the app's keys, and letters, which are for the prompt
        event.stop()

    def _show_edit(self) -> None:
        self.remove_class("-rejected")
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        if self._edit is None:
            if not event.text.strip() or set(event.text.strip()) - set(self.TYPEABLE):
                return  # not a value: the text is for the prompt
            self._begin("")
        event.stop()
        assert self._edit is not None
        self._edit.insert(event.text)
        self._show_edit()

    def on_blur(self) -> None:
        if self._edit is not None and not self._commit():
            self._end()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2 and self.is_on_value(event.get_content_offset_capture(self).x):
            event.stop()
            self.action_edit()

    def is_on_value(self, x: int) -> bool:
        """Whether this column of the content belongs to the value: a double click there starts editing."""
        return x >= self.content_size.width - self.VALUE_WIDTH - GAP

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, steps: int) -> None:
        if self.has_focus and not self.is_editing:
            # Also at an end of the range: the panel must not scroll when the wheel is turned too far.
            event.stop()
            event.prevent_default()
            self.change(self.stepped(steps))

    # --- rendering

    def render(self) -> Content:
        width, cells = self.content_size.width, self.label_cells
        label = Content.styled(self.label[:cells].ljust(cells), self.get_visual_style("value-row--label"))
        rest = max(0, width - cells)
        body = self._render_edit(rest) if self._edit is not None else self.render_body(rest)
        return Content.assemble(label, body)

    @property
    def label_cells(self) -> int:
        """The width of the label: a fixed column if something is aligned behind it."""
        return self.LABEL_WIDTH

    def render_body(self, width: int) -> Content:
        """The part behind the label, `width` cells."""
        return self.render_value(width)

    def render_value(self, width: int) -> Content:
        """The value, right-aligned in `width` cells. A cut value starts with …"""
        text = cut_at_start(self.shown(self.value), width)
        name = "value-row--modified" if self.is_modified else "value-row--value"
        return Content.styled(text.rjust(width), self.get_visual_style(name))

    def _render_edit(self, width: int) -> Content:
        assert self._edit is not None
        text, cursor = self._edit.text + " ", self._edit.cursor
        room = max(1, width - GAP)
        first = max(0, cursor - room + 1)
        text, cursor = text[first : first + room], cursor - first
        before = ("value-row--edit", "value-row--cursor") if self._edit.is_selected else ("value-row--edit",)
        field = Content.assemble(
            (text[:cursor], self.get_visual_style(*before)),
            (text[cursor], self.get_visual_style("value-row--edit", "value-row--cursor")),
            (text[cursor + 1 :], self.get_visual_style("value-row--edit")),
        )
        free, is_rejected = width - len(text), self.has_class("-rejected")
        words = f"must be {self.allowed_words()}"
        hints = (words, self.allowed_text()) if is_rejected else (self.allowed_text(),)
        hint = next((each for each in hints if len(each) + 2 * GAP <= free), "")
        name = "value-row--error" if is_rejected else "value-row--hint"
        lead = (" " * GAP + hint).ljust(free)
        return Content.assemble((lead, self.get_visual_style(name)), field)
