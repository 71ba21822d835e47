"""The alternatives of one token: piece, bar, probability, and what the sampler did with each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from ttchat_tui.domain.recording import Alternative, RecordedToken, Recording, alternatives_and_itself
from ttchat_tui.domain.text import visible_piece
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.metrics.figures import bar_text
from ttchat_tui.ui.widgets.whole_rows import WholeRows

_MARK_CELLS: Final = 2
_SHARE_CELLS: Final = 8
_CUT_CELLS: Final = 13
"""Two blanks and the longest word, `temperature`."""
_LEAST_BAR: Final = 6
_MOST_BAR: Final = 24


class Choice(NamedTuple):
    """A row of the list."""

    alternative: Alternative
    piece: bytes
    is_written: bool
    """It is the one in the reply."""


class AlternativeList(WholeRows, can_focus=True):
    """The most probable first. While no fork is possible, all are dimmed."""

    ALLOW_SELECT = False
    help_title = "In the alternatives"
    help_lines = (
        ("▸ written", "The token that the reply has"),
        ("a grey row", "The sampler could not draw it; the word names the rule that cut it"),
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "alternatives--kept",
        "alternatives--cut",
        "alternatives--bar",
        "alternatives--written",
        "alternatives--cursor",
    }
    DEFAULT_CSS = "AlternativeList { overflow-x: hidden; overflow-y: auto; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Choose", show=False),
        Binding("down", "move(1)", "Choose", show=False),
        Binding("pageup", "move(-10)", "Choose", show=False),
        Binding("pagedown", "move(10)", "Choose", show=False),
        Binding("home", "move(-100)", "Choose", show=False),
        Binding("end", "move(100)", "Choose", show=False),
        Binding("left", "leave", "Back to the text", show=False),
        Binding(
            "enter",
            "choose",
            "Another version of the reply, from this token on; of a paused reply, write this token",
            show=False,
        ),
    ]

    class Chosen(Message):
        """Enter or a double click on the row under the cursor."""

    class Left(Message):
        """Back to the text."""

    def __init__(self) -> None:
        super().__init__()
        self._choices: Sequence[Choice] = ()
        self._cursor = 0
        self._is_dimmed = False
        self._styles: dict[str, Style] = {}
        """Of the component classes, as long as the theme stays."""

    @property
    def chosen(self) -> Choice | None:
        return self._choices[self._cursor] if self._cursor < len(self._choices) else None

    def set_dimmed(self, is_dimmed: bool) -> None:
        if is_dimmed != self._is_dimmed:
            self._is_dimmed = is_dimmed
            self.refresh()

    def show(self, choices: Sequence[Choice]) -> None:
        """Show another token's. The cursor begins at the first one that is not written, which is what a fork would take."""
        self._choices = choices
        self._cursor = next((at for at, each in enumerate(choices) if not each.is_written), 0)
        # It never shrinks: another height lays out the whole screen, and most lists have 20 rows, some 21.
        self.virtual_size = Size(0, max(len(choices), self.virtual_size.height))
        self.scroll_to(0, 0, animate=False, force=True, immediate=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        index, width = y + self.scroll_offset.y, self.scrollable_content_region.width
        plain = self._style("kept")
        if index >= len(self._choices):
            return Strip.blank(width, plain)
        is_cursor = self.has_focus and index == self._cursor
        segments = [
            Segment(text, self._style("cursor" if is_cursor else style))
            for text, style in _parts_of(self._choices[index], width, is_dimmed=self._is_dimmed)
        ]
        return Strip(segments).adjust_cell_length(width, plain)

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_visual_style(f"alternatives--{name}").rich_style
        return self._styles[name]

    def notify_style_update(self) -> None:
        self._styles = {}
        super().notify_style_update()

    def on_focus(self) -> None:
        self._move_to(self._cursor)

    def on_blur(self) -> None:
        self.refresh()

    def _move_to(self, index: int) -> None:
        self._cursor = min(max(index, 0), max(0, len(self._choices) - 1))
        self.scroll_to_region(Region(0, self._cursor, 1, 1), animate=False, force=True, immediate=True)
        self.refresh()

    def action_move(self, step: int) -> None:
        self._move_to(self._cursor + step)

    def action_leave(self) -> None:
        self.post_message(self.Left())

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def on_click(self, event: events.Click) -> None:
        index = event.y + self.scroll_offset.y
        if index < len(self._choices):
            self._move_to(index)
            if event.chain == 2:
                self.action_choose()


def choices_of(recording: Recording, token: RecordedToken) -> list[Choice]:
    """The rows for a token: its alternatives, and itself at the end if it is not among them."""
    return [
        Choice(each, recording.piece_of(each.token_id), each.token_id == token.token_id)
        for each in alternatives_and_itself(token)
    ]


def _parts_of(choice: Choice, width: int, *, is_dimmed: bool) -> list[tuple[str, str]]:
    """One row of `width` cells: texts, and the last parts of their component classes."""
    alternative, piece, is_written = choice
    is_cut = alternative.cut not in ("kept", "unknown")
    style = "cut" if is_dimmed or is_cut else "kept"
    room = max(0, width - _MARK_CELLS - _SHARE_CELLS - _CUT_CELLS)
    bar = min(_MOST_BAR, room // 2)
    bar = bar if bar >= _LEAST_BAR else 0
    shown = cut_to_cells(visible_piece(piece), room - bar - 1)
    probability = math.exp(alternative.logprob)
    full, rest = bar_text(probability, bar) if bar else ("", "")
    word = "written" if is_written else alternative.cut if is_cut else ""
    return [
        ("▸ " if is_written else "  ", "written"),
        (pad_to_cells(shown, room - bar), "written" if is_written else style),
        (full, "cut" if style == "cut" else "bar"),
        (rest, "cut"),
        (share_text(probability).rjust(_SHARE_CELLS), style),
        (pad_to_cells(f"  {word}", width), "written" if is_written else "cut"),
    ]


def share_text(probability: float) -> str:
    """`43.2 %`, `0.04 %`, `< 0.01 %`."""
    percent = 100 * probability
    if percent < 0.01:
        return "<0.01 %"
    return f"{percent:.1f} %" if percent >= 0.1 else f"{percent:.2f} %"
