"""The form that asks for the variables of a prompt template, with a preview of the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, Label, Select, Static, TextArea

from ttchat_tui.domain.prompt_template import PromptTemplate, Variable
from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.keys import canonical_key, key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft
from ttchat_tui.ui.widgets.visible_area import VisibleArea


class ValueField(VisibleArea):
    """A text of one or more lines. The keys that send a message leave the field; those of a new line work as in the prompt."""

    DEFAULT_CSS = """
    ValueField { height: auto; max-height: 5; }
    """

    @dataclass
    class Entered(Message):
        """A key that sends was pressed."""

        field: ValueField

    def __init__(
        self, text: str, *, submit_keys: Iterable[str], newline_keys: Iterable[str], name: str
    ) -> None:
        super().__init__(text, compact=True, soft_wrap=True, tab_behavior="focus", name=name)
        self.cursor_blink = False
        self._submit_keys = [canonical_key(key) for key in submit_keys]
        self._newline_keys = [canonical_key(key) for key in newline_keys]
        self.move_cursor(self.document.end)

    async def on_key(self, event: events.Key) -> None:
        key = canonical_key(event.key.replace("\r", "enter"))  # see `Prompt.on_key`
        if key in self._submit_keys:
            self.post_message(self.Entered(self))
        elif key in self._newline_keys:
            start, end = self.selection
            self.replace("\n", start, end, maintain_selection_offset=False)
        else:
            return
        event.stop()
        event.prevent_default()


class ChoiceField(Select[str]):
    """One of several values. The keys that send a message leave it too, while its list is closed."""

    @dataclass
    class Entered(Message):
        """A key that sends was pressed."""

        field: ChoiceField

    def __init__(self, variable: Variable, *, submit_keys: Iterable[str], name: str) -> None:
        options = [(Content(visible_line(choice)), choice) for choice in variable.choices]
        chosen = variable.choices[0] if variable.default is None else variable.default
        super().__init__(options, value=chosen, allow_blank=False, compact=True, name=name)
        self._submit_keys = [canonical_key(key) for key in submit_keys]

    def on_key(self, event: events.Key) -> None:
        if not self.expanded and canonical_key(event.key) in self._submit_keys:
            event.stop().prevent_default()
            self.post_message(self.Entered(self))


class TemplateForm(Dialog[str]):
    """Result: the text with the values in it."""

    AUTO_FOCUS = "ValueField, ChoiceField"
    BINDINGS = [Binding("ctrl+s", "accept", "Use", show=False, priority=True)]

    def __init__(
        self,
        template: PromptTemplate,
        *,
        submit_keys: Iterable[str] = ("enter",),
        newline_keys: Iterable[str] = ("ctrl+j", "shift+enter", "alt+enter"),
    ) -> None:
        super().__init__()
        self.heading = visible_line(template.name)
        self._template = template
        self._submit_keys, self._newline_keys = tuple(submit_keys), tuple(newline_keys)

    def body(self) -> ComposeResult:
        with VerticalScroll(id="fields", can_focus=False):
            for name, variable in self._template.variables.items():
                about = f"  {visible_line(variable.description)}" if variable.description else ""
                yield Label(Content.assemble((name, "bold"), (about, "$text-muted")))
                yield self._field(name, variable)
        yield Static("", classes="preview", markup=False)
        yield Static(self._keys(), classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Use", id="use", variant="primary", compact=True)

    def _keys(self) -> str:
        send, newline = key_label(self._submit_keys[0]), key_label(self._newline_keys[0])
        opens = "   space opens choices" * any(each.choices for each in self._template.variables.values())
        return f"{send} next   ctrl+s uses it   {newline} new line{opens}"

    def _field(self, name: str, variable: Variable) -> ChoiceField | ValueField:
        if variable.choices:
            return ChoiceField(variable, submit_keys=self._submit_keys, name=name)
        return ValueField(
            as_draft(variable.default or ""),
            submit_keys=self._submit_keys,
            newline_keys=self._newline_keys,
            name=name,
        )

    def on_mount(self) -> None:
        self._show_preview()

    @property
    def _values(self) -> dict[str, str]:
        values: dict[str, str] = {}
        for field in self.query_one("#fields").children:
            if isinstance(field, ChoiceField):
                values[str(field.name)] = str(field.value)
            elif isinstance(field, ValueField):
                values[str(field.name)] = field.text
        return values

    @on(TextArea.Changed)
    @on(Select.Changed)
    def _show_preview(self) -> None:
        values = {name: value for name, value in self._values.items() if value}
        text = self._template.filled(values)
        self.query_one(".preview", Static).update(self.first_lines(text))

    @on(ValueField.Entered)
    @on(ChoiceField.Entered)
    def _leave_field(self, event: ValueField.Entered | ChoiceField.Entered) -> None:
        fields = list(self.query("ValueField, ChoiceField").results())
        at = fields.index(event.field)
        if at + 1 < len(fields):
            fields[at + 1].focus()
        else:
            self.action_accept()

    @on(Button.Pressed, "#use")
    def action_accept(self) -> None:
        values = self._values
        for name, variable in self._template.variables.items():
            if not values[name] and variable.default is None and "" not in variable.choices:
                self.query_one(".hint", Static).update(f"{name} is empty.")
                next(field for field in self.query(ValueField) if field.name == name).focus()
                self.app.bell()
                return
        self.dismiss(self._template.filled(values))

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()
