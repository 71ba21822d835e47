"""The list of the tree view. Rows are laid out only when they are drawn, so that 10,000 messages open at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ttchat_tui.ui.screens.tree_rows import RowStyles, TreeRow, strip_of


class TreeList(ScrollView, can_focus=True):
    """One row is highlighted. Textual's OptionList measures every option when it opens, which takes 50 ms here."""

    COMPONENT_CLASSES = {"tree--plain", "tree--highlighted", "tree--muted", "tree--accent", "tree--name"}

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "first", "First", show=False),
        Binding("end", "last", "Last", show=False),
        Binding("enter", "select", "Open", show=False),
    ]

    highlighted = reactive(0)
    """The index of the highlighted row."""

    class Highlighted(Message):
        """Another row is highlighted."""

    class Chosen(Message):
        """Enter, or a click on the row that is highlighted already."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: Sequence[TreeRow] = ()

    def show(self, rows: Sequence[TreeRow], highlighted: int) -> None:
        """Show these rows (at least one)."""
        self._rows = rows
        self.virtual_size = Size(0, len(rows))
        self.highlighted = highlighted
        self.refresh()
        self.call_after_refresh(self._bring_into_view)
        self.post_message(self.Highlighted())

    def validate_highlighted(self, index: int) -> int:
        return max(0, min(index, len(self._rows) - 1))

    def watch_highlighted(self) -> None:
        self._bring_into_view()
        self.refresh()
        self.post_message(self.Highlighted())

    def _bring_into_view(self) -> None:
        self.scroll_to_region(Region(0, self.highlighted, 1, 1), animate=False, force=True, immediate=True)

    def render_line(self, y: int) -> Strip:
        index, width = round(self.scroll_y) + y, self.scrollable_content_region.width
        if not 0 <= index < len(self._rows):
            return Strip.blank(width, self.rich_style)
        cursor = "highlighted" if index == self.highlighted else "plain"
        plain, muted, accent, name = (
            self.get_visual_style(f"tree--{part if cursor == 'plain' else cursor}")
            for part in ("plain", "muted", "accent", "name")
        )
        return strip_of(self._rows[index], width, RowStyles(plain, muted, accent, name))

    def action_move(self, step: int) -> None:
        self.highlighted += step

    def action_page(self, step: int) -> None:
        self.highlighted += step * max(1, self.size.height - 1)

    def action_first(self) -> None:
        self.highlighted = 0

    def action_last(self) -> None:
        self.highlighted = len(self._rows) - 1

    def action_select(self) -> None:
        self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        index = round(self.scroll_y) + event.y
        if index == self.highlighted:
            self.post_message(self.Chosen())
        elif 0 <= index < len(self._rows):
            self.highlighted = index
