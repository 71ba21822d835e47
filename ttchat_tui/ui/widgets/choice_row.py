"""One choice of several in a dialog: the radio buttons, and what enter does in them."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import RadioButton, RadioSet


class MarkedButton(RadioButton):
    """Textual marks the chosen button by colour only, which NO_COLOR removes."""

    BUTTON_LEFT = BUTTON_RIGHT = " "

    def render(self) -> Content:
        self.BUTTON_INNER = "●" if self.value else "○"
        return super().render()


class ChoiceRow(RadioSet):
    """Enter chooses the button under the cursor, and on the chosen one it accepts the dialog, as in its fields."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "accept", "Choose, then save", show=False)]

    class Accepted(Message):
        """Enter on the chosen button."""

    def action_accept(self) -> None:
        for button in self.query("RadioButton.-selected").results(RadioButton):
            if button.value:
                self.post_message(self.Accepted())
            else:
                button.toggle()
