"""The top row: the model, the engine's state, and how full the context is."""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec
from msgspec.structs import replace
from textual.content import Content
from textual.widget import Widget

from ttchat_tui.domain.events import EngineState, LoadPhase, LoadProgress
from ttchat_tui.domain.text import one_line
from ttchat_tui.ui.widgets.metrics.figures import bar_text, bytes_text, count_text, share

APP_NAME: Final = "ttchat"
SEPARATOR: Final = " · "
METER_CELLS: Final = 8
SHORTEST_MODEL: Final = 8
"""Cells to which a model's name is shortened before the line is cut at the right."""

_SIGNS: Final[dict[EngineState, tuple[str, str]]] = {
    "empty": ("○", "no model"),
    "loading": ("●", "loading"),
    "ready": ("●", "ready"),
    "generating": ("●", "generating"),
    "unloading": ("○", "unloading"),
    "failed": ("✗", "failed"),
}

_DOING: Final[dict[LoadPhase, str]] = {
    "download": "downloading",
    "verify": "verifying",
    "start": "starting",
    "read": "reading",
    "convert": "preparing",
    "compile": "compiling",
    "warm up": "warming up",
}


class _Shown(msgspec.Struct, frozen=True):
    """The content of the line."""

    model: str = ""
    label: str = ""
    state: EngineState = "empty"
    word: str = ""
    """In place of the state's own word; empty for that."""
    detail: str = ""
    progress: LoadProgress | None = None
    is_cancelling: bool = False
    used: int = 0
    total: int = 0
    notice: str = ""

    @property
    def name(self) -> str:
        """The model that is loaded or loading, of a path its last part; empty without one."""
        if self.state == "loading":
            return self.detail.rstrip("/").rpartition("/")[2]
        return "" if self.state == "empty" else self.model


class _Fit(msgspec.Struct, frozen=True):
    """Which parts are shown."""

    name: bool = True
    bars: bool = True
    caption: bool = True
    label: bool = True
    amounts: bool = True
    detail: bool = True
    meter: bool = True


_DROPPED: Final = ("name", "bars", "caption", "label", "amounts", "detail", "meter")
"""Parts that are left out, first to last."""
_FITS: Final = tuple(_Fit(**dict.fromkeys(_DROPPED[:count], False)) for count in range(len(_DROPPED) + 1))
"""From all parts to the fewest. The notice is in all of them."""


class StatusLine(Widget):
    """One row, repainted only when its content changes."""

    ALLOW_SELECT = False

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "status-line--name",
        "status-line--model",
        "status-line--dim",
        "status-line--notice",
        "status-line--empty",
        "status-line--loading",
        "status-line--ready",
        "status-line--generating",
        "status-line--unloading",
        "status-line--failed",
        "status-line--meter",
        "status-line--meter-high",
        "status-line--meter-full",
    }

    DEFAULT_CSS = """
    StatusLine { width: 1fr; height: 1; padding: 0 1; text-wrap: nowrap; }
    """

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._shown = _Shown()

    def set_model(self, model: str, label: str = "") -> None:
        """The model's name and the engine's label; empty if nothing is loaded."""
        self._show(replace(self._shown, model=one_line(model), label=one_line(label)))

    def set_state(self, state: EngineState, detail: str = "") -> None:
        """The engine's state. `detail`: a few words; while loading, the model's name. Leaving `loading` clears the progress."""
        progress = self._shown.progress if state == "loading" else None
        shown = replace(self._shown, state=state, word="", detail=one_line(detail), progress=progress)
        self._show(replace(shown, is_cancelling=False))

    def set_detail(self, detail: str, word: str = "") -> None:
        """Words beside the state; empty for none. `word`: what the engine does, in place of the state's own word."""
        self._show(replace(self._shown, word=word, detail=one_line(detail)))

    def set_progress(self, progress: LoadProgress | None) -> None:
        """The load's progress, shown while the state is `loading`."""
        self._show(replace(self._shown, progress=progress))

    def set_cancelling(self, is_cancelling: bool) -> None:
        """Whether the load was cancelled and has not ended yet. The next state clears it."""
        self._show(replace(self._shown, is_cancelling=is_cancelling))

    def set_context(self, used: int, total: int) -> None:
        """Tokens in the context; a total of 0 hides the meter."""
        self._show(replace(self._shown, used=used, total=total))

    def set_notice(self, notice: str) -> None:
        """A lasting notice: `nothing is kept`. Empty hides it."""
        self._show(replace(self._shown, notice=one_line(notice)))

    def _show(self, shown: _Shown) -> None:
        if shown != self._shown:
            self._shown = shown
            self.refresh()

    def render(self) -> Content:
        width = max(1, self.content_size.width)
        model = self._shown.name
        for fit in _FITS:
            left, right = self._left(fit, model), self._meter(fit)
            room = width - right.cell_length - (2 if right else 0)
            if left.cell_length <= room:
                return Content.assemble(left, " " * (width - left.cell_length - right.cell_length), right)
        name = Content(model)
        cells = max(SHORTEST_MODEL, name.cell_length - (self._left(_FITS[-1], model).cell_length - width))
        shortened = name.truncate(cells, ellipsis=True).plain
        return self._left(_FITS[-1], shortened).truncate(width, ellipsis=True)

    def _left(self, fit: _Fit, model: str) -> Content:
        shown = self._shown
        dim = self.get_visual_style("status-line--dim")
        parts: list[Content] = []
        if model:
            parts.append(Content.styled(model, self.get_visual_style("status-line--model")))
        if shown.label and fit.label and shown.state not in ("loading", "empty"):
            parts.append(Content.styled(shown.label, dim))
        parts.append(self._phase(fit))
        if shown.notice:
            parts.append(Content.styled(shown.notice, self.get_visual_style("status-line--notice")))
        line = Content.styled(SEPARATOR, dim).join(parts)
        if not fit.name:
            return line
        return Content.assemble((APP_NAME, self.get_visual_style("status-line--name")), "   ", line)

    def _phase(self, fit: _Fit) -> Content:
        shown = self._shown
        sign, word = _SIGNS[shown.state]
        progress = shown.progress if shown.state == "loading" and not shown.is_cancelling else None
        if shown.is_cancelling or shown.word:
            word = shown.word or "cancelling"
        if progress is not None:
            word = _DOING[progress.phase]
        phase = Content.styled(f"{sign} {word}", self.get_visual_style(f"status-line--{shown.state}"))
        if progress is not None and (amounts := self._progress(fit, progress)):
            return Content.assemble(phase, " ", amounts)
        if shown.detail and fit.detail and shown.state != "loading":
            return Content.assemble(phase, " ", (shown.detail, self.get_visual_style("status-line--dim")))
        return phase

    def _progress(self, fit: _Fit, progress: LoadProgress) -> Content:
        dim = self.get_visual_style("status-line--dim")
        parts: list[Content] = []
        if progress.total > 0:
            done = share(progress.done, progress.total)
            if fit.bars:
                full, rest = bar_text(done, METER_CELLS)
                bar = self.get_visual_style("status-line--loading")
                parts.append(Content.assemble((full, bar), (rest, dim)))
            parts.append(Content.styled(f"{int(done * 100):3d} %", dim))
        if fit.amounts and (amount := _amount(progress)):
            parts.append(Content.styled(amount, dim))
        if fit.detail and progress.detail:
            parts.append(Content.styled(one_line(progress.detail), dim))
        return Content(" ").join(parts)

    def _meter(self, fit: _Fit) -> Content:
        used, total = self._shown.used, self._shown.total
        if total <= 0 or not fit.meter:
            return Content("")
        full_share = share(used, total)
        level = "-full" if full_share >= 0.95 else "-high" if full_share >= 0.8 else ""
        colour = self.get_visual_style(f"status-line--meter{level}")
        dim = self.get_visual_style("status-line--dim")
        total_text = count_text(total)
        figures = Content.assemble(
            (count_text(used).rjust(len(total_text)), colour), (f" / {total_text}", dim)
        )
        if not fit.bars:
            return Content.assemble(("context ", dim), figures) if fit.caption else figures
        full, rest = bar_text(full_share, METER_CELLS)
        return Content.assemble(("context ", dim), (full, colour), (rest, dim), " ", figures)


def _amount(progress: LoadProgress) -> str:
    """`123 / 456 MB`, `12 / 30 layers`; without a total, the amount so far."""
    if not progress.unit or not (progress.done or progress.total):
        return ""
    if progress.unit == "bytes":
        if not progress.total:
            return " ".join(bytes_text(progress.done))
        total, unit = bytes_text(progress.total)
        done = f"{progress.done / 1e9:,.1f}" if unit == "GB" else f"{progress.done / 1e6:,.0f}"
        return f"{done.rjust(len(total))} / {total} {unit}"
    if not progress.total:
        return f"{progress.done:,} {progress.unit}"
    total = f"{progress.total:,}"
    return f"{progress.done:,}".rjust(len(total)) + f" / {total} {progress.unit}"
