"""A slider over a float range, in one row: `temperature ━━━━━●━━━  0.70`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message

from ttchat_tui.ui.widgets.sampling.ticks import Ticks, number_text
from ttchat_tui.ui.widgets.sampling.value_row import GAP, ValueRow

FILLED, REST, MARK_ON_FILLED, MARK_ON_REST, THUMB = "━", "─", "┯", "┬", "●"
"""The parts of the track differ in shape too, for themes without colours and colour-blind users."""


class Slider(ValueRow[float]):
    """A value on integer ticks: label, track and value in one row, whatever the width.

    Args:
        label: Shown at the left, up to `LABEL_WIDTH` cells.
        ticks: The range the track covers and its step.
        value: Shown exactly, also off the grid or outside the range.
        default: The value for reset; marked on the track.
        limits: The range that may be typed; by default the track's.
        is_integer: Typed values must be whole numbers.
        name: The value's name in `Changed`.

    Keys: left/right a tick, shift ten, page a tenth of the range, home/end; digits or Enter type a value; backspace
    or delete reset. Mouse: click and drag on the track (the default's cell gives exactly the default), the wheel
    when focused, a double click on the value types.
    """

    TYPEABLE: ClassVar[str] = "0123456789.,-"

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "slider--filled",
        "slider--rest",
        "slider--mark",
        "slider--thumb",
    }

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "page(1)", "A tenth more", show=False),
        Binding("pagedown", "page(-1)", "A tenth less", show=False),
        Binding("home", "end_of_range(-1)", "Lowest", show=False),
        Binding("end", "end_of_range(1)", "Highest", show=False),
    ]

    @dataclass
    class Changed(Message):
        """The user moved, typed or reset the value."""

        slider: Slider
        name: str
        value: float

        @property
        def control(self) -> Slider:
            return self.slider

    def __init__(
        self,
        label: str,
        ticks: Ticks,
        value: float,
        *,
        default: float | None = None,
        limits: tuple[float, float] | None = None,
        is_integer: bool = False,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(
            label,
            value,
            value if default is None else default,
            name=name,
            id=id,
            classes=classes,
            disabled=disabled,
        )
        self.ticks = ticks
        self.limits = limits or (ticks.low, ticks.high)
        self.is_integer = is_integer
        self._is_dragging = False

    def shown(self, value: float) -> str:
        return number_text(value, self.ticks.decimals, self.VALUE_WIDTH)

    def edit_text(self) -> str:
        return self.shown(self.value) if not self.shown(self.value).startswith("~") else repr(self.value)

    def typed(self, text: str) -> float:
        value = float(text.replace(",", "."))
        low, high = self.limits
        if not (math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{text} is not within {low:g} to {high:g}")
        if self.is_integer and not value.is_integer():
            raise ValueError(f"{text} is not a whole number")
        return value + 0.0  # turns -0 into 0

    def allowed_text(self) -> str:
        low, high = self.limits
        return f"{low:g}–{high:g}" if low >= 0 else f"{low:g}…{high:g}"

    def allowed_words(self) -> str:
        low, high = self.limits
        return f"{'whole, ' if self.is_integer else ''}{low:g} to {high:g}"

    def stepped(self, steps: int) -> float:
        return self.ticks.stepped(self.value, steps)

    def changed(self, value: float) -> Message:
        return self.Changed(self, self.name or "", value)

    def action_page(self, pages: int) -> None:
        self.action_step(pages * max(1, round(self.ticks.last / 10)))

    def action_end_of_range(self, direction: int) -> None:
        self.change(self.ticks.high if direction > 0 else self.ticks.low)

    @property
    def track_width(self) -> int:
        """Cells of the track; 0 where there is no room for one."""
        width = self.content_size.width - self.LABEL_WIDTH - self.VALUE_WIDTH - 2 * GAP
        return width if width >= 3 else 0

    @property
    def track_start(self) -> int:
        """The column of the content where the track begins."""
        return self.LABEL_WIDTH + GAP

    def on_mouse_down(self, event: events.MouseDown) -> None:
        x = event.get_content_offset_capture(self).x - self.track_start
        if event.button != 1 or not 0 <= x < self.track_width:
            return
        event.stop()
        if self.is_editing:
            self._end()
        self._is_dragging = True
        self.capture_mouse()
        self._jump(x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._is_dragging:
            event.stop()
            self._jump(event.get_content_offset_capture(self).x - self.track_start)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        if self._is_dragging:
            event.stop()
            self.release_mouse()

    def on_mouse_release(self) -> None:
        # Also when another widget captured the mouse: a drag must end with its button.
        self._is_dragging = False

    def watch_disabled(self, disabled: bool) -> None:
        super().watch_disabled(disabled)
        if disabled and self._is_dragging:
            self.release_mouse()

    def _jump(self, cell: int) -> None:
        cells = self.track_width
        if cell == self.ticks.cell_of(self.default, cells):
            self.change(self.default)
        elif min(max(cell, 0), cells - 1) != self.ticks.cell_of(self.value, cells):
            # A click on the thumb must not round a value between two cells.
            self.change(self.ticks.value(self.ticks.tick_at(cell, cells)))

    def render_body(self, width: int) -> Content:
        cells = self.track_width
        if not cells:
            return self.render_value(width)
        return Content.assemble(
            " " * GAP, self._render_track(cells), " " * GAP, self.render_value(width - cells - 2 * GAP)
        )

    def _render_track(self, cells: int) -> Content:
        thumb = self.ticks.cell_of(self.value, cells)
        mark = self.ticks.cell_of(self.default, cells)
        glyphs = [FILLED] * thumb + [THUMB] + [REST] * (cells - thumb - 1)
        if mark != thumb:
            glyphs[mark] = MARK_ON_FILLED if mark < thumb else MARK_ON_REST
        track = Content("".join(glyphs))
        for name, start, end in (
            ("slider--filled", 0, thumb),
            ("slider--rest", thumb + 1, cells),
            ("slider--mark", mark, mark + 1),
            ("slider--thumb", thumb, thumb + 1),
        ):
            track = track.stylize(self.get_visual_style(name), start, end)
        return track
