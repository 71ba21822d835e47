"""A graph of the decode rate, one cell per sample, starting at zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from textual.content import Content
from textual.widget import Widget

BARS: Final = "▁▂▃▄▅▆▇█"
"""The lowest bar is the axis: zero, or no sample."""


def bars(rates: Sequence[float], width: int) -> str:
    """The newest `width` samples, aligned right, scaled to the highest of all samples."""
    top = max(rates, default=0.0)
    shown = rates[-width:] if width > 0 else ()
    return "".join(_bar(rate, top) for rate in shown).rjust(width, BARS[0])


def _bar(rate: float, top: float) -> str:
    if rate <= 0:
        return BARS[0]
    return BARS[max(1, round(rate / top * (len(BARS) - 1)))]


class RateGraph(Widget):
    """One row. Textual's Sparkline starts at the lowest sample and stretches the samples over its width."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"metrics--bar", "metrics--rest"}
    DEFAULT_CSS = """
    RateGraph { width: 1fr; height: 1; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rates: Sequence[float] = ()

    def show(self, rates: Sequence[float]) -> None:
        """Draw these rates, oldest first. Unchanged rates are not repainted."""
        if rates != self._rates:
            self._rates = rates
            self.refresh()

    def render(self) -> Content:
        text = bars(self._rates, self.content_size.width)
        samples = min(len(self._rates), len(text))
        at = len(text) - samples
        return Content.assemble(
            (text[:at], self.get_visual_style("metrics--rest")),
            (text[at:], self.get_visual_style("metrics--bar")),
        )
