"""A whole number in one row, or none: `seed  random`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from ttchat_tui.ui.widgets.sampling.value_row import ValueRow


class NumberField(ValueRow["int | None"]):
    """An integer between `low` and `high`; also None, if `none_text` says what that means.

    Keys are a slider's: left/right go to the next multiple of `step` (below the lowest lies None, where allowed),
    shift ten of them, home/end the ends, digits or Enter type, an empty text is None, backspace or delete reset.
    """

    VALUE_WIDTH: ClassVar[int] = 9

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home", "end_of_range(-1)", "Lowest", show=False),
        Binding("end", "end_of_range(1)", "Highest", show=False),
    ]

    @dataclass
    class Changed(Message):
        """The user stepped, typed or reset the number."""

        field: NumberField
        name: str
        value: int | None

        @property
        def control(self) -> NumberField:
            return self.field

    def __init__(
        self,
        label: str,
        value: int | None,
        *,
        low: int,
        high: int,
        step: int = 1,
        none_text: str = "",
        default: int | None = None,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(label, value, default, name=name, id=id, classes=classes, disabled=disabled)
        self.low, self.high, self.step = low, high, step
        self.none_text = none_text

    def shown(self, value: int | None) -> str:
        if value is None:
            return self.none_text
        # Longer ones are identifiers, such as seeds, and the row is short.
        return f"{value:,}" if abs(value) < 10**9 else str(value)

    @property
    def label_cells(self) -> int:
        return len(self.label)

    def edit_text(self) -> str:
        return "" if self.value is None else str(self.value)

    def typed(self, text: str) -> int | None:
        if not text and self.none_text:
            return None
        value = int(text)
        if not self.low <= value <= self.high:
            raise ValueError(f"{text} is not within {self.low:,} to {self.high:,}")
        return value

    def allowed_text(self) -> str:
        return f"{_short(self.low)}–{_short(self.high)}"

    def allowed_words(self) -> str:
        return f"{_short(self.low)} to {_short(self.high)}"

    def stepped(self, steps: int) -> int | None:
        value: int | None = self.value
        if value is None:
            return None if steps < 0 else min(self.high, self.low + (steps - 1) * self.step)
        if steps > 0:
            return max(value, min(self.high, (value // self.step + steps) * self.step))
        if self.none_text and value <= self.low:
            return None
        return min(value, max(self.low, (-(-value // self.step) + steps) * self.step))

    def changed(self, value: int | None) -> Message:
        return self.Changed(self, self.name or "", value)

    def action_end_of_range(self, direction: int) -> None:
        self.change(self.high if direction > 0 else self.low)


def _short(number: int) -> str:
    """A number in at most five characters: k and M for multiples of 1,024, `2^n` beyond."""
    if number >= 2**40:
        return f"2^{number.bit_length()}"
    for unit, size in (("M", 2**20), ("k", 2**10)):
        if number >= size and number % size == 0:
            return f"{number // size}{unit}"
    return str(number)
