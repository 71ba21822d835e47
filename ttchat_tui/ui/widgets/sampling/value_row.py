"""A focusable row `label … value` whose value can be stepped, typed and reset; what sliders and fields share."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from ttchat_tui.ui.widgets.sampling.line_edit import LineEdit

V = TypeVar("V")

GAP = 1
"""Cells between the columns of a row."""


class ValueRow(Widget, Generic[V], can_focus=True):
    """One row, drawn by `render` without child widgets; one column of labels, values aligned at the right edge.

    `value` may be set freely (`set_value`, `data_bind`): it is shown as it is and nothing is posted. Only what the
    user does posts `Changed`. While a value is typed, the row keeps the keys of a line editor: Enter commits, Escape
    abandons, leaving the row commits what is valid; an invalid text stays, beside the range that is allowed, and the
    row has the class `-rejected`.

    The wheel moves the value only of the row that has the focus and lies under the pointer; everywhere else it
    scrolls the panel.
    """

    ALLOW_SELECT = False
    LABEL_WIDTH: ClassVar[int] = 11
    VALUE_WIDTH: ClassVar[int] = 5
    TYPEABLE: ClassVar[str] = "0123456789"
    """The characters that begin and continue a typed value."""

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
        Binding("right", "step(1)", "More", show=False),
        Binding("shift+left", "step(-10)", "Much less", show=False),
        Binding("shift+right", "step(10)", "Much more", show=False),
        Binding("enter", "edit", "Type a value", show=False),
        Binding("backspace,delete", "reset", "Reset", show=False),
    ]

    value: reactive[Any] = reactive(None)
    """The value as it is, on the grid or off it."""
    default: reactive[Any] = reactive(None)
    """What reset returns to; a value that differs is shown as modified."""

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

    # What a kind of row has to say.

    @abstractmethod
    def shown(self, value: V) -> str:
        """The value as text."""

    @abstractmethod
    def typed(self, text: str) -> V:
        """The value that was typed; ValueError when it is none or not allowed."""

    @abstractmethod
    def allowed_text(self) -> str:
        """The allowed range, in a few characters."""

    @abstractmethod
    def stepped(self, steps: int) -> V:
        """The value so many steps on; the same one at an end."""

    @abstractmethod
    def changed(self, value: V) -> Message:
        """The message that tells the user's change."""

    # What a parent does.

    def set_value(self, value: V) -> None:
        """Show another value; posts nothing."""
        self.value = value

    def set_default(self, default: V) -> None:
        """Reset returns to another value from now on; posts nothing."""
        self.default = default

    @property
    def is_editing(self) -> bool:
        return self._edit is not None

    @property
    def is_modified(self) -> bool:
        return self.value != self.default

    # What the user does.

    def change(self, value: V) -> None:
        """Take the user's value, and post `Changed` if it is another."""
        if value != self.value:
            self.value = value
            self.post_message(self.changed(value))

    def action_step(self, steps: int) -> None:
        if not self.is_editing:
            self.change(self.stepped(steps))

    def action_reset(self) -> None:
        self.change(self.default)

    def action_edit(self) -> None:
        """Begin a typed value with the present one, to be replaced or amended."""
        self._begin(self.edit_text())

    def edit_text(self) -> str:
        """What amending begins with."""
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
        """Take the typed value and end; False, still editing, when it is not one."""
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
            if event.character is None or event.character not in self.TYPEABLE:
                return
            self._begin("")
        assert self._edit is not None
        if event.key == "enter":
            self._commit()
        elif event.key == "escape":
            self._end()
        elif self._edit.press(event.key):
            self._typing_went_on()
        elif event.character is not None and event.is_printable:
            self._edit.insert(event.character)
            self._typing_went_on()
        else:
            return  # Tab, up, down and the app's own keys keep their meaning.
        event.stop()

    def _typing_went_on(self) -> None:
        self.remove_class("-rejected")
        self.refresh()

    def on_paste(self, event: events.Paste) -> None:
        if self._edit is None:
            if not event.text.strip() or set(event.text.strip()) - set(self.TYPEABLE):
                return  # no value: text for the prompt
            self._begin("")
        event.stop()
        assert self._edit is not None
        self._edit.insert(event.text)
        self._typing_went_on()

    def on_blur(self) -> None:
        if self._edit is not None and not self._commit():
            self._end()

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2 and self.is_on_value(event.get_content_offset_capture(self).x):
            event.stop()
            self.action_edit()

    def is_on_value(self, x: int) -> bool:
        """Whether this column of the content belongs to the value (a second click there begins typing)."""
        return x >= self.content_size.width - self.VALUE_WIDTH - GAP

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, 1)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, -1)

    def _wheel(self, event: events.MouseEvent, steps: int) -> None:
        if self.has_focus and not self.is_editing:
            # Also at an end, where nothing moves: the panel must not run away under a hand that turned too far.
            event.stop()
            event.prevent_default()
            self.change(self.stepped(steps))

    # How it looks.

    def render(self) -> Content:
        width, cells = self.content_size.width, self.label_cells
        label = Content.styled(self.label[:cells].ljust(cells), self.get_visual_style("value-row--label"))
        rest = max(0, width - cells)
        body = self._render_edit(rest) if self._edit is not None else self.render_body(rest)
        return Content.assemble(label, body)

    @property
    def label_cells(self) -> int:
        """How wide the label is: a column, where something stands behind it that must be aligned."""
        return self.LABEL_WIDTH

    def render_body(self, width: int) -> Content:
        """Everything behind the label, `width` cells."""
        return self.render_value(width)

    def render_value(self, width: int) -> Content:
        """The value, right-aligned in `width` cells; what does not fit says that it is cut."""
        text = self.shown(self.value)
        if len(text) > width:
            text = "…" + text[len(text) - width + 1 :]
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
        hint = self.allowed_text()
        free = width - len(text)
        if len(hint) + 2 * GAP > free:
            hint = ""
        name = "value-row--error" if self.has_class("-rejected") else "value-row--hint"
        lead = (" " * GAP + hint).ljust(free)
        return Content.assemble((lead, self.get_visual_style(name)), field)
