"""One line of the conversation list: mark, title, and the age at the right."""

from __future__ import annotations

from typing import Final

from rich.segment import Segment
from textual.css.styles import RulesMap
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from ttchat_tui.domain.text import visible
from ttchat_tui.session import Mark
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.history.groups import ConversationRow, GroupRow, HistoryRow

MARK = "▌ "
NO_MARK = "  "
SIGNS: Final[dict[Mark, tuple[str, str]]] = {
    "running": ("●", "$primary"),
    "queued": ("…", "$text-muted"),
    "finished": ("✓", "$success"),
    "failed": ("✗", "$error"),
}
"""A conversation's mark → the sign before its age, and the sign's colour."""


class RowVisual(Visual):
    """A row of one line. It is laid out only when drawn, so that thousands of rows are cheap."""

    def __init__(self, row: HistoryRow) -> None:
        self._row = row

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return 1

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        match self._row:
            case GroupRow(title):
                pieces = [(pad_to_cells(cut_to_cells(f" {title}", width), width), style)]
            case ConversationRow():
                pieces = _conversation(self._row, width, style, options)
        return [Strip([Segment(text, piece_style.rich_style) for text, piece_style in pieces], width)]


def _conversation(
    row: ConversationRow, width: int, style: Style, options: RenderOptions
) -> list[tuple[str, Style]]:
    # The highlighted row has its own background, on which only its foreground is legible.
    is_plain = not style.bold
    muted = style + Style(foreground=options.get_style("$text-muted").foreground) if is_plain else style
    mark = style + Style(foreground=options.get_style("$primary").foreground) if is_plain else style
    age = f" {row.age} "
    sign, colour = SIGNS.get(row.mark, ("", ""))
    sign_style = (
        style + Style(foreground=options.get_style(colour).foreground) if is_plain and sign else style
    )
    sign = f" {sign}" if sign else ""
    room = max(0, width - len(MARK) - len(sign) - len(age))
    title = " ".join(visible(row.title).split()) or "Untitled"
    shown = pad_to_cells(cut_to_cells(title, room), room)
    return [
        (MARK if row.is_current else NO_MARK, mark),
        (shown, style + Style(bold=True) if row.is_current else style),
        (sign, sign_style),
        (age, muted),
    ]
