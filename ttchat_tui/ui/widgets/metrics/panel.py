"""Live figures of the engine and the reply, aligned and of constant width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget

from ttchat_tui.domain.text import one_line
from ttchat_tui.ui.widgets.metrics.card_rows import CardRows, ReadCards
from ttchat_tui.ui.widgets.metrics.figures import (
    NOTHING,
    bar_text,
    bytes_text,
    count_text,
    milliseconds_text,
    rate_text,
    seconds_text,
    share,
)
from ttchat_tui.ui.widgets.metrics.rate_graph import RateGraph

LABEL_WIDTH = 8
UNIT_WIDTH = 6
NARROWEST_NUMBER = 9
WIDEST_BAR = 16


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """One moment's figures; None is shown as a dash."""

    phase: str = ""
    ttft_s: float | None = None
    prefill_tps: float | None = None
    decode_now_tps: float | None = None
    """Over the last second or so."""
    decode_mean_tps: float | None = None
    """Over the reply, its first step left out."""
    itl_p50_s: float | None = None
    itl_p95_s: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    """Prompt tokens that were in the KV cache."""
    completion_tokens: int | None = None
    context_used: int | None = None
    context_length: int | None = None
    rss_bytes: int | None = None
    """Memory of the engine's process."""
    load_s: float | None = None
    model: str = ""
    engine_label: str = ""
    threads: int | None = None
    is_over_network: bool = False
    """The TTFT includes the network, and steps are the gaps between received chunks."""
    is_estimate: bool = False
    """Token counts and rates are estimates, since the server reports none. Marked with `~`."""
    history: tuple[float, ...] = ()
    """Decode rates, oldest first."""


FIGURES_HELP: Final = (
    "step: one forward of the model. Speculation takes several tokens from one, so decode can be faster than one token "
    "a step.\ncached: prompt tokens kept from the turn before.\nmemory: of the engine.\n2T: two threads."
)


class MetricsTable(Widget):
    """The figures as rows `label  number unit`."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "metrics--label",
        "metrics--number",
        "metrics--headline",
        "metrics--unit",
        "metrics--bar",
        "metrics--rest",
    }

    DEFAULT_CSS = """
    MetricsTable { width: 1fr; height: 15; text-wrap: nowrap; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.tooltip = Content(FIGURES_HELP)
        self._metrics = Metrics()

    def show(self, metrics: Metrics) -> None:
        """Show these figures. A change of the history alone does not repaint."""
        previous, self._metrics = self._metrics, metrics
        if replace(previous, history=()) != replace(metrics, history=()):
            self.refresh()

    def render(self) -> Content:
        return Content("\n").join(self._lines(max(1, self.content_size.width)))

    def _lines(self, width: int) -> Iterator[Content]:
        m = self._metrics
        step, first = ("gap", "TTFT+net") if m.is_over_network else ("step", "TTFT")
        yield self._row(width, "decode", self._guess(rate_text(m.decode_now_tps)), "tok/s", is_headline=True)
        yield self._row(width, "mean", self._guess(rate_text(m.decode_mean_tps)), "tok/s")
        yield self._row(width, first, seconds_text(m.ttft_s), "s")
        yield self._row(width, "prefill", rate_text(m.prefill_tps), "tok/s")
        yield self._row(width, f"{step} p50", milliseconds_text(m.itl_p50_s), "ms")
        yield self._row(width, f"{step} p95", milliseconds_text(m.itl_p95_s), "ms")
        yield self._row(width, "prompt", self._guess(count_text(m.prompt_tokens)), "tokens")
        yield self._row(width, "cached", count_text(m.cached_tokens), "tokens")
        yield self._row(width, "reply", self._guess(count_text(m.completion_tokens)), "tokens")
        yield self._context_row(width)
        yield self._row(width, "memory", *bytes_text(m.rss_bytes))
        yield self._row(width, "load", seconds_text(m.load_s), "s")
        # Beside the longest label there is no room for "2 threads".
        threads = f" {m.threads}T" if m.threads and m.engine_label else ""
        yield self._text_row(width, "model", m.model)
        yield self._text_row(width, f"engine{threads}", m.engine_label)
        yield self._text_row(width, "phase", m.phase)

    def _guess(self, number: str) -> str:
        """Mark an estimate with `~`; 0 and unknown figures have no mark."""
        return f"~{number}" if self._metrics.is_estimate and number not in (NOTHING, "0") else number

    def _row(self, width: int, label: str, number: str, unit: str, *, is_headline: bool = False) -> Content:
        name = "metrics--headline" if is_headline else "metrics--number"
        return Content.assemble(
            (label.ljust(LABEL_WIDTH), self.get_visual_style("metrics--label")),
            " ",
            (
                number.rjust(max(NARROWEST_NUMBER, width - LABEL_WIDTH - UNIT_WIDTH - 2)),
                self.get_visual_style(name),
            ),
            " ",
            (unit.ljust(UNIT_WIDTH), self.get_visual_style("metrics--unit")),
        )

    def _text_row(self, width: int, label: str, text: str) -> Content:
        label = label.ljust(LABEL_WIDTH)
        room = max(1, width - len(label) - 1)
        words = Content(one_line(text) or NOTHING).truncate(room, ellipsis=True)
        return Content.assemble(
            (label, self.get_visual_style("metrics--label")),
            " " * (1 + room - words.cell_length),
            words.stylize(self.get_visual_style("metrics--number")),
        )

    def _context_row(self, width: int) -> Content:
        m = self._metrics
        figures = f" {count_text(m.context_used)} / {count_text(m.context_length or None)}"
        room = max(0, width - LABEL_WIDTH - 1 - len(figures))
        full, rest = bar_text(share(m.context_used or 0, m.context_length or 0), min(room, WIDEST_BAR))
        return Content.assemble(
            ("context".ljust(LABEL_WIDTH), self.get_visual_style("metrics--label")),
            " " * (1 + room - len(full) - len(rest)),
            (full, self.get_visual_style("metrics--bar")),
            (rest, self.get_visual_style("metrics--rest")),
            (figures, self.get_visual_style("metrics--number")),
        )


class MetricsPanel(VerticalScroll):
    """Shows the last `Metrics`. It has no timer of its own: the event pump calls `show`, at 2 to 4 Hz.

    Important rows, rates and TTFT, come first: on a low screen the last ones are reached by scrolling.
    """

    DEFAULT_CSS = """
    MetricsPanel { height: auto; max-height: 50%; }
    MetricsPanel.-with-cards { max-height: 65%; }
    """

    def __init__(
        self,
        read_cards: ReadCards | None = None,
        *,
        name: str | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`read_cards`: given if there are cards. Their rows have a timer of their own."""
        super().__init__(name=name, id=id, classes=classes)
        self.border_title = "Metrics"
        self._graph = RateGraph()
        self._table = MetricsTable()
        self._cards = CardRows(read_cards) if read_cards is not None else None
        self.set_class(read_cards is not None, "-with-cards")

    def compose(self) -> ComposeResult:
        yield self._graph
        yield self._table
        if self._cards is not None:
            yield self._cards

    def show(self, metrics: Metrics) -> None:
        """Show these figures, also before the panel is on screen. Unchanged figures are not repainted."""
        self._graph.show(metrics.history)
        self._table.show(metrics)

    def allow_focus(self) -> bool:
        """Focusable only if there is something to scroll to."""
        return self.max_scroll_y > 0
