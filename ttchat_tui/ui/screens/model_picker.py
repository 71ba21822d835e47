"""Choice of a model from a list; anything else (a hub id, a folder, a .gguf file) can be typed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.text import visible, visible_line
from ttchat_tui.models.library import ModelRow, format_size
from ttchat_tui.models.machine import Machine
from ttchat_tui.models.weights import is_incomplete
from ttchat_tui.ui.model_rows import REMOTE_PREFIX
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.cells import cut_in_middle, pad_to_cells
from ttchat_tui.ui.widgets.line_field import LineField

WIDEST_NAME = 30
BESIDE_NAME = 27
"""Columns of a row's mark, size and state; `gated download` is the longest."""
QUANTISATION = 8
RATE = 11
"""Columns of the quantisation and the expected speed, where they are shown."""
LOW = 20
"""Rows of a screen that has no room for the line with the source."""
NARROWEST_NAME = 21
"""A name that is cut further makes room by hiding the speed or the quantisation."""


class ModelPicker(Dialog[str]):
    """Result: the model's name as an argument of `--model`."""

    heading = "Model"
    AUTO_FOCUS = "Input"
    help_lines = (
        (
            "enter",
            "Load the model, or what you typed: a hub id (org/name, org/name:Q4_K_M), a folder, a .gguf file",
        ),
    )
    BINDINGS = [
        Binding("down", "move(1)", "Choose", show=False),
        Binding("up", "move(-1)", "Choose", show=False),
    ]

    def __init__(
        self, rows: Sequence[ModelRow], current: str = "", machine: Callable[[], Machine] | None = None
    ) -> None:
        """`machine`: measures this machine, called in a thread; None: no speed is shown."""
        super().__init__()
        self._measure = machine
        self._machine: Machine | None = None
        # A server may list a model twice, or under a local model's name. Models of one name load the same one.
        self._rows = list({row.name: row for row in reversed(rows)}.values())[::-1]
        self._current = current
        self._incomplete: set[Path] = set()
        """Files that are shorter than their headers say: broken downloads. Found on another thread."""
        self._listed: list[ModelRow] = []
        """The rows that match the filter, in the list's order."""

    def body(self) -> ComposeResult:
        yield LineField(placeholder="Filter, or org/name:Q4_K_M, a folder, a file", compact=True)
        yield OptionList(markup=False, compact=True)
        yield Static("", classes="source", markup=False)
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.run_worker(self._look_for_incomplete())
        if self._measure is not None:
            self.run_worker(self._show_speeds(self._measure))

    async def _look_for_incomplete(self) -> None:
        paths = [row.path for row in self._rows if row.path is not None]
        self._incomplete = await asyncio.to_thread(lambda: set(filter(is_incomplete, paths)))
        if self._incomplete:
            self._draw_again()

    async def _show_speeds(self, measure: Callable[[], Machine]) -> None:
        self._machine = await asyncio.to_thread(measure)
        self._draw_again()

    def on_resize(self) -> None:
        """Also called as it opens: the names get the width that the box leaves."""
        self.query_one(".source").display = self.app.size.height >= LOW
        self._draw_again()

    def _draw_again(self) -> None:
        models = self.query_one(OptionList)
        at = models.highlighted
        self._list_matching(self.query_one(Input).value)
        if at is not None:
            models.highlighted = at

    def action_move(self, step: int) -> None:
        """Move in the list while the focus stays in the field."""
        models = self.query_one(OptionList)
        if step > 0:
            models.action_cursor_down()
        else:
            models.action_cursor_up()

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        self._list_matching(event.value)

    def _list_matching(self, typed: str) -> None:
        wanted = typed.strip().casefold()
        rows = [row for row in self._rows if wanted in row.name.casefold()]
        models = self.query_one(OptionList)
        self._listed = rows
        models.set_options(Option(self._line(row)) for row in rows)
        names = [row.name for row in rows]
        if names:
            models.highlighted = names.index(self._current) if self._current in names else 0
        hint = "↑↓ choose   enter load" if names or not wanted else "enter loads what you typed"
        self.query_one(".hint", Static).update(hint)

    def _line(self, row: ModelRow) -> Content:
        mark = "▌ " if row.name == self._current else "  "
        shown = row.name.removeprefix(REMOTE_PREFIX).removeprefix(f"{row.endpoint}/")
        room = self.query_one(OptionList).scrollable_content_region.width - 2  # an option's padding
        spare = room - BESIDE_NAME - NARROWEST_NAME if not row.endpoint else 0
        has_quantisation = spare >= QUANTISATION and any(each.quantisation for each in self._rows)
        has_rate = self._machine is not None and spare >= QUANTISATION + RATE
        beside = BESIDE_NAME + QUANTISATION * has_quantisation + RATE * has_rate
        width = max(1, min(WIDEST_NAME, room - beside))
        name = pad_to_cells(cut_in_middle(visible(shown or "its first model"), width), width)
        if row.endpoint:
            return Content.assemble(mark, name, "  ", ("at ", "dim"), visible(row.endpoint))
        size = f"{format_size(row.size_bytes) if row.size_bytes else '':>8}"
        state = "gated download" if row.is_gated else "download"
        if row.path is not None:
            state = "incomplete" if row.path in self._incomplete else "here"
        about = f" {row.quantisation:<{QUANTISATION - 1}.{QUANTISATION - 1}}" if has_quantisation else ""
        rate = f"{self._rate(row):>{RATE}}" if has_rate else ""
        return Content.assemble(
            mark, name, (about, "dim"), rate, " ", size, "  ", (state, "bold" if row.path else "")
        )

    def _rate(self, row: ModelRow) -> str:
        """The speed to expect on the CPU, or that the model does not fit in the memory that is free."""
        machine = self._machine
        if machine is None or not row.size_bytes:
            return ""
        if row.path is None and not machine.has_room_for(row.size_bytes):
            return "too large"
        rate = machine.tokens_per_s(row.size_bytes)
        return f"~{rate:,.0f} tok/s" if rate >= 9.95 else f"~{rate:.1f} tok/s" if rate else ""

    @on(OptionList.OptionHighlighted)
    def _show_source(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_index < len(self._listed):
            row = self._listed[event.option_index]
            self.query_one(".source", Static).update(visible_line(row.source))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        index = self.query_one(OptionList).highlighted
        name = self._listed[index].name if index is not None else event.value.strip()
        if name:
            self.dismiss(name)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._listed[event.option_index].name)
