"""Rows of the sampling panel that can be folded away under a title."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Collapsible


class FoldedRows(Collapsible):
    """On the title, enter folds and unfolds; right and left do each of them, left also from within, like enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "fold(False)", "unfold", tooltip="Unfold it"),
        Binding("left,enter", "fold(True)", "fold", tooltip="Fold it away", key_display="←"),
    ]

    def __init__(self, *children: Widget, title: str) -> None:
        super().__init__(*children, title=title, collapsed_symbol="▸", expanded_symbol="▾")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is folded cannot be folded again."""
        return (
            self.collapsed != parameters[0] if action == "fold" else super().check_action(action, parameters)
        )

    def action_fold(self, is_folded: bool) -> None:
        """The focus goes to the title, where enter does the opposite."""
        self.collapsed = is_folded
        self.query_one("CollapsibleTitle").focus()
