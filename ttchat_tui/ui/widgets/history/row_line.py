"""One line of the list: mark, title, tags, and the age at the right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from rich.cells import cell_len
from textual.style import Style

from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.text import one_line
from ttchat_tui.session import Mark
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.history.groups import GroupRow, age_of

CURRENT: Final = "▌ "
CHOSEN: Final = "◆ "
NO_MARK: Final = "  "
SIGNS: Final[dict[Mark, str]] = {"running": "●", "paused": "‖", "queued": "»", "finished": "✓", "failed": "✗"}
"""A conversation's mark → the sign before its age."""

LEAST_TITLE: Final = 16
"""Cells of a title that tags leave."""

COMPONENTS: Final = tuple(
    f"conversation-list--{name}"
    for name in (
        "group",
        "highlighted",
        "hovered",
        "current",
        "muted",
        "running",
        "paused",
        "queued",
        "finished",
        "failed",
    )
)

StyleOf: TypeAlias = Callable[..., Style]
"""The style of component classes: `Widget.get_visual_style`."""
Pieces: TypeAlias = list[tuple[str, Style]]


class RowState(NamedTuple):
    """How a conversation is shown now."""

    is_current: bool
    is_chosen: bool
    is_highlighted: bool
    is_hovered: bool
    mark: Mark


def group_line(row: GroupRow, width: int, style_of: StyleOf) -> Pieces:
    title = pad_to_cells(cut_to_cells(f" {row.title}", width), width)
    return [(title, style_of("conversation-list--group"))]


def row_line(row: ListedConversation, state: RowState, now: float, width: int, style_of: StyleOf) -> Pieces:
    below = "highlighted" if state.is_highlighted else "hovered" if state.is_hovered else ""
    style = style_of(f"conversation-list--{below}") if below else style_of()

    def coloured(name: str) -> Style:
        # The highlighted row has its own background, on which only its foreground is legible.
        foreground = style_of(f"conversation-list--{name}").foreground
        return style if style.bold else style + Style(foreground=foreground)

    age = f" {age_of(row.updated_at, now)} "
    sign = f" {SIGNS[state.mark]}" if state.mark else ""
    room = max(0, width - len(NO_MARK) - len(sign) - len(age))
    title = one_line(row.title) or "Untitled"
    tags = _tags(row, room - min(cell_len(title), LEAST_TITLE))
    shown = pad_to_cells(cut_to_cells(title, room - cell_len(tags)), room - cell_len(tags))
    beginning = CHOSEN if state.is_chosen else CURRENT if state.is_current else NO_MARK
    return [
        (beginning, coloured("current")),
        (shown, style + Style(bold=True) if state.is_current else style),
        (tags, coloured("muted")),
        (sign, coloured(state.mark) if state.mark else style),
        (age, coloured("muted")),
    ]


def _tags(row: ListedConversation, room: int) -> str:
    """As many tags as fit behind the title, with a blank before each; if not even one does, their number."""
    shown = ""
    for tag in row.tags:
        if cell_len(shown) + cell_len(tag) + 2 > room:
            break
        shown += f" #{tag}"
    return shown or (f" #{len(row.tags)}" if row.tags else "")
