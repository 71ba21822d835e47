"""The rows of the context ledger: who, the text's beginning, what becomes of it, tokens, and a bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ttchat_tui.domain.ledger import Ledger, LedgerRow
from ttchat_tui.domain.text import one_line
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.metrics.figures import NOTHING, bar_text, share

_WHO_CELLS: Final = 9
_FATE_CELLS: Final = 11
_TOKEN_CELLS: Final = 9
_BAR_CELLS: Final = 10
_BAR_FROM: Final = 64
"""Width from which there is room for the bar."""


class Piece(NamedTuple):
    text: str
    style: str
    """The last part of a component class."""


class LedgerRows(ScrollView, can_focus=True):
    """A list with a cursor, of which only the lines in view are made: a conversation may have thousands of messages."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "ledger-rows--sent",
        "ledger-rows--unsent",
        "ledger-rows--falls-out",
        "ledger-rows--muted",
        "ledger-rows--bar",
        "ledger-rows--cursor",
    }

    DEFAULT_CSS = "LedgerRows { overflow-x: hidden; overflow-y: auto; height: 1fr; }"

    BINDINGS = [
        Binding("down", "move(1)", "Next", show=False),
        Binding("up", "move(-1)", "Previous", show=False),
        Binding("pagedown", "page(1)", "Next page", show=False),
        Binding("pageup", "page(-1)", "Previous page", show=False),
        Binding("home", "move(-1_000_000_000)", "First", show=False),
        Binding("end", "move(1_000_000_000)", "Last", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    @dataclass
    class Moved(Message):
        """The cursor is on another row."""

    @dataclass
    class Chosen(Message):
        """Enter, or a click on the row under the cursor."""

    def __init__(self) -> None:
        super().__init__()
        self._ledger = Ledger(rows=())
        self._cursor = 0

    @property
    def chosen(self) -> LedgerRow | None:
        """The row under the cursor."""
        return self._ledger.rows[self._cursor] if self._cursor < len(self._ledger.rows) else None

    def show(self, ledger: Ledger) -> None:
        """Show other rows; the cursor stays. It begins on the last one."""
        is_first = not self._ledger.rows
        self._ledger = ledger
        self.virtual_size = Size(0, len(ledger.rows))
        last = max(0, len(ledger.rows) - 1)
        self._cursor = last if is_first else min(self._cursor, last)
        if is_first:
            self.call_after_refresh(self._move_to, last)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        index, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        if index >= len(self._ledger.rows):
            return Strip.blank(width, self.rich_style)
        pieces = pieces_of(
            self._ledger.rows[index], width, self._ledger.most_tokens, self._ledger.is_split_estimated
        )
        is_cursor = index == self._cursor
        return Strip(
            [
                Segment(
                    text,
                    self.get_visual_style(f"ledger-rows--{'cursor' if is_cursor else style}").rich_style,
                )
                for text, style in pieces
            ],
            width,
        )

    def _move_to(self, index: int) -> None:
        self._cursor = min(max(index, 0), max(0, len(self._ledger.rows) - 1))
        self.scroll_to_region(Region(0, self._cursor, 1, 1), animate=False, force=True)
        self.refresh()
        self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        self._move_to(self._cursor + step)

    def action_page(self, step: int) -> None:
        self._move_to(self._cursor + step * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index == self._cursor:
            self.action_choose()
        elif index < len(self._ledger.rows):
            self._move_to(index)


def pieces_of(row: LedgerRow, width: int, most: int, is_estimate: bool) -> list[Piece]:
    """One line of `width` cells. `is_estimate`: of the tokens."""
    bar = _BAR_CELLS + 1 if width >= _BAR_FROM else 0
    room = max(0, width - _WHO_CELLS - _FATE_CELLS - _TOKEN_CELLS - bar)
    is_sent = row.fate == "sent"
    word = "kept" if row.is_kept and is_sent else "" if is_sent else row.fate
    style = "sent" if is_sent else "unsent"
    said = one_line(row.text) or ("your next message" if row.kind == "draft" else "")
    tokens = NOTHING if row.tokens is None else f"{'~' if is_estimate else ''}{row.tokens:,}"
    pieces = [
        Piece(pad_to_cells(cut_to_cells(who(row), _WHO_CELLS - 1), _WHO_CELLS), "muted"),
        Piece(pad_to_cells(cut_to_cells(said, room), room), style),
        Piece(word.rjust(_FATE_CELLS), "falls-out" if row.fate == "falls out" else "muted"),
        Piece(cut_to_cells(tokens, _TOKEN_CELLS - 1).rjust(_TOKEN_CELLS), style),
    ]
    if bar:
        full, rest = bar_text(share(row.tokens or 0, most), _BAR_CELLS)
        pieces += [Piece(f" {full}", "bar" if is_sent else "muted"), Piece(rest, "muted")]
    return pieces


def who(row: LedgerRow) -> str:
    if row.kind != "message":
        return row.kind
    return {"user": "you", "assistant": "reply"}.get(row.role, row.role)
