"""The list of completions above the prompt. It never has the focus: the prompt hands it the keys that it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from textual import on
from textual.content import Content
from textual.geometry import Offset, Region
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ttchat_tui.domain.text import visible_line
from ttchat_tui.ui.widgets.cells import cut_at_start, cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.prompt.typed import Offer

MOST_ROWS: Final = 8
WIDEST_TITLE: Final = 28
LONGEST_WAIT_S: Final = 1.0
"""How long a tab or enter that was typed ahead waits for something to take, in seconds."""


class CompletionList(OptionList, can_focus=False):
    """Offers of what could be typed next. Closed while there are none."""

    DEFAULT_CSS = "CompletionList { display: none; }"

    @dataclass
    class Taken(Message):
        """An offer is to replace what is typed."""

        offer: Offer
        is_meant: bool = False
        """Enter has taken it, and there was no other."""

    class Dismissed(Message):
        """Escape."""

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self._offers: Sequence[Offer] = ()
        self._is_chosen = False
        """An arrow key has chosen the highlighted offer."""
        self._enter_takes = False
        self._seen_since = 0.0
        """The time (`Message.time`) from which keys can mean the highlighted offer; 0: keys that were typed before too."""
        self._has_answer = asyncio.Event()
        self._has_answer.set()

    @property
    def is_open(self) -> bool:
        return bool(self._offers)

    def expect(self) -> None:
        """Offers are being looked for: until they come, tab and enter wait for them, and enter takes no older one."""
        self._has_answer.clear()
        self._enter_takes = False

    def show(
        self,
        offers: Sequence[Offer],
        *,
        above: Region,
        enter_takes: bool,
        is_seen_first: bool = False,
        hint: str = "",
    ) -> None:
        """Show `offers` over the transcript, above the region of the prompt; none closes the list.

        Args:
            enter_takes: enter takes the first one, which is highlighted. Otherwise enter takes an offer only after an
                arrow key has chosen it.
            is_seen_first: not an enter that was pressed before the first one was shown.
        """
        self._has_answer.set()
        values = [offer.value for offer in offers]
        chosen = self._offers[self.highlighted or 0].value if self._is_chosen else None
        before = self._offers
        self._offers, self._enter_takes = offers, enter_takes
        if not is_seen_first:
            self._seen_since = 0.0
        elif not before or not offers or before[0] != offers[0] or not self._seen_since:
            self._seen_since = Message().time
        if not offers:
            self.close()
            return
        self._is_chosen = chosen in values
        self._place(above, min(len(offers), MOST_ROWS, max(1, above.y - 4)))
        width = max(1, above.width - 4)  # the border, and an option's padding
        self.set_options(Option(_row(offer, offers, width)) for offer in offers)
        self.highlighted = values.index(chosen) if chosen in values else 0 if enter_takes else None
        self.border_subtitle = Content(hint or "tab accepts · ↑↓ choose · esc closes")
        self.display = True

    def close(self) -> None:
        self._has_answer.set()
        self._offers, self._is_chosen = (), False
        self.display = False

    async def press(self, key: str, at: float) -> bool:
        """Whether the list takes this key, pressed at the time `at` (of its message); `enter` stands for each key that
        sends."""
        if key in ("tab", "enter"):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._has_answer.wait(), LONGEST_WAIT_S)
        if not self.is_open:
            return False
        match key:
            case "up" | "down" | "pageup" | "pagedown":
                self._is_chosen = True
                move = {
                    "up": "cursor_up",
                    "down": "cursor_down",
                    "pageup": "page_up",
                    "pagedown": "page_down",
                }
                getattr(self, f"action_{move[key]}")()
            case "tab":
                self._take(self.highlighted or 0)
            case "enter" if self._is_chosen or (self._enter_takes and at >= self._seen_since):
                self._take(self.highlighted, is_meant=len(self._offers) == 1)
            case "escape":
                self.close()
                self.post_message(self.Dismissed())
            case _:
                return False
        return True

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._take(event.option_index)

    def _take(self, place: int | None, *, is_meant: bool = False) -> None:
        if place is not None and place < len(self._offers):
            self.post_message(self.Taken(self._offers[place], is_meant))

    def _place(self, above: Region, rows: int) -> None:
        """Only a change needs a layout of the screen."""
        parent = self.parent.region if self.parent is not None else above  # type: ignore[union-attr]
        height, offset = rows + 2, Offset(above.x - parent.x, above.y - parent.bottom)
        if (self.styles.height, self.styles.width) != (height, above.width):
            self.styles.height, self.styles.width = height, above.width
        if self.styles.offset != offset:
            self.styles.offset = offset


def _row(offer: Offer, offers: Sequence[Offer], width: int) -> Content:
    """The title, and the sentence in a column of its own."""
    title = visible_line(offer.title)
    if not any(each.about for each in offers):
        return Content(cut_at_start(title, width))
    column = min(WIDEST_TITLE, width, max(cell_len(each.title) for each in offers))
    shown = pad_to_cells(cut_to_cells(title, column), column)
    room = width - column - 2
    about = visible_line(offer.about)
    about = cut_to_cells(about if cell_len(about) <= room else visible_line(offer.short) or about, room)
    return Content.assemble(shown, "  ", (about, "$text-muted"))
