"""The row of the sampling panel that names the constraint of replies, while there is one."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Label

from ttchat_tui.domain.constraint import Constraint


class ConstraintRow(Label):
    def __init__(self) -> None:
        super().__init__(markup=False)
        self.tooltip = Content("The form of each reply; /constrain off ends it.")
        self.show(None)

    def show(self, constraint: Constraint | None) -> None:
        self.display = constraint is not None
        self.update(constraint.summary if constraint else "")
