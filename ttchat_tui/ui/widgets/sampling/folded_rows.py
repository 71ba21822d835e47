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

    def __init__(self, *children: Widget, heading: str, keys: str = "") -> None:
        """`keys`: other keys that its rows have, shown while they can be seen."""
        super().__init__(*children, title=heading, collapsed_symbol="▸", expanded_symbol="▾")
        self._heading = heading
        self._keys = keys
        self._show_title()

    def set_heading(self, heading: str) -> None:
        self._heading = heading
        self._show_title()

    def watch_collapsed(self) -> None:
        self._show_title()

    def _show_title(self) -> None:
        """The heading, and the keys that work on it now: the bottom row shows them only while it has the focus."""
        keys = ("→ unfold",) if self.collapsed else (self._keys, "← fold")
        self.title = "  ".join(filter(None, (self._heading, *keys)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """What is folded cannot be folded again."""
        return (
            self.collapsed != parameters[0] if action == "fold" else super().check_action(action, parameters)
        )

    def action_fold(self, is_folded: bool) -> None:
        """The focus goes to the title, where enter does the opposite."""
        self.collapsed = is_folded
        self.query_one("CollapsibleTitle").focus()
