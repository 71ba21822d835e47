"""A `TextArea` for any text."""

from __future__ import annotations

from typing import Any

from rich.text import Text
from textual.widgets import TextArea

from ttchat_tui.domain.text import visible
from ttchat_tui.ui.keys import FREED_KEYS
from ttchat_tui.ui.textual_patches.privates import remove_bindings


class VisibleArea(TextArea):
    """Draws control characters as symbols. A stored prompt, an imported system prompt or a model's summary may have some;
    they stay in the text. Leaves `FREED_KEYS` to the chat."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        remove_bindings(self, FREED_KEYS)

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        line.plain = visible(line.plain)
        return line
