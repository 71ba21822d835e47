"""A `TextArea` for any text."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import TextArea

from ttchat_tui.domain.text import visible


class VisibleArea(TextArea):
    """Draws control characters as symbols. A stored prompt, an imported system prompt or a model's summary may have some;
    they stay in the text."""

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        line.plain = visible(line.plain)
        return line
