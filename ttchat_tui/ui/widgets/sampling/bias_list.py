"""The tokens that are banned or boosted, a row each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from ttchat_tui.domain.logit_bias import BAN, shown_text
from ttchat_tui.ui.widgets.sampling.value_row import ValueRow

BIAS_HELP = (
    "Added to the token's logit; -100 bans it. ← → a step, shift ten · digits type · delete removes it."
)


class BiasRow(ValueRow[float]):
    """One token. The keys are a slider's; delete removes the bias, and so does 0."""

    TYPEABLE: ClassVar[str] = "0123456789.-"

    @dataclass
    class Changed(Message):
        """The user changed the amount; 0 removes the token."""

        text: str
        amount: float

    def __init__(self, text: str, amount: float) -> None:
        super().__init__(shown_text(text), amount, 0.0)
        self.text = text
        self.tooltip = Content(BIAS_HELP)

    @property
    def label_cells(self) -> int:
        return max(self.LABEL_WIDTH, self.content_size.width - self.VALUE_WIDTH)

    def shown(self, value: float) -> str:
        return "ban" if value <= BAN else f"{value:+g}"

    def edit_text(self) -> str:
        return f"{self.value:g}"

    def typed(self, text: str) -> float:
        amount = float(text)
        if not BAN <= amount <= -BAN:
            raise ValueError(f"{text} is not within {self.allowed_words()}")
        return amount

    def allowed_text(self) -> str:
        return f"{BAN:g}–{-BAN:g}"

    def allowed_words(self) -> str:
        return f"{BAN:g} to {-BAN:g}"

    def stepped(self, steps: int) -> float:
        return min(max(self.value + steps, BAN), -BAN)

    def changed(self, value: float) -> Message:
        return self.Changed(self.text, value)


class BiasList(Vertical):
    """Nothing is shown where there is none."""

    DEFAULT_CSS = "BiasList { height: auto; }"

    def show(self, bias: Mapping[str, float]) -> None:
        """Show these, in their order. Rows that stay keep the focus."""
        rows = {row.text: row for row in self.query_children(BiasRow)}
        for text, row in rows.items():
            if text not in bias:
                row.remove()
        for text, amount in bias.items():
            if text in rows:
                rows[text].set_value(amount)
            else:
                self.mount(BiasRow(text, amount))
