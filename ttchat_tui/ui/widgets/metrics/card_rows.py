"""Telemetry of the Tenstorrent cards, read once a second while it is on screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import ClassVar, TypeAlias

from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget

from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.domain.text import one_line
from ttchat_tui.ui.widgets.metrics.figures import NOTHING, count_text

ReadCards: TypeAlias = Callable[[], tuple[CardReading, ...]]
"""Called in a thread, since a faulty card may block its reader."""

INTERVAL_S = 1.0
LABEL_WIDTH = 8


class CardRows(Widget):
    """A few rows per card. Nothing is read while the panel is hidden."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"metrics--label", "metrics--number"}
    DEFAULT_CSS = """
    CardRows { width: 1fr; height: auto; text-wrap: nowrap; }
    """

    def __init__(self, read: ReadCards) -> None:
        super().__init__()
        self._read = read
        self._cards: tuple[CardReading, ...] = ()
        self._timer: Timer | None = None

    def on_mount(self) -> None:
        self._timer = self.set_interval(INTERVAL_S, self.poll)

    async def on_show(self) -> None:
        if self._timer is not None:
            self._timer.resume()
        await self.poll()

    def on_hide(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    async def poll(self) -> None:
        """Read now, and repaint on changes."""
        cards = await asyncio.to_thread(self._read)
        if cards != self._cards:
            is_taller = sum(1 for _ in _rows(cards)) != sum(1 for _ in _rows(self._cards))
            self._cards = cards
            self.refresh(layout=is_taller)

    def render(self) -> Content:
        width = max(1, self.content_size.width)
        return Content("\n").join(self._row(width, label, text) for label, text in _rows(self._cards))

    def _row(self, width: int, label: str, text: str) -> Content:
        room = max(1, width - LABEL_WIDTH - 1)
        words = Content(one_line(text)).truncate(room, ellipsis=True)
        return Content.assemble(
            (label.ljust(LABEL_WIDTH), self.get_visual_style("metrics--label")),
            " " * (1 + room - words.cell_length),
            words.stylize(self.get_visual_style("metrics--number")),
        )


def _rows(cards: tuple[CardReading, ...]) -> Iterator[tuple[str, str]]:
    """Label and text of each row. Fan and holders have rows only if the card reports them."""
    for card in cards:
        firmware = f" · fw {card.firmware}" if card.firmware else ""
        yield f"card {card.index}", (card.card_type or NOTHING) + firmware
        yield "heat", f"{_decimal(card.temperature_c)} °C · {_decimal(card.power_w)} W"
        clock = None if card.clock_mhz is None else round(card.clock_mhz)
        yield "clock", f"{count_text(clock)} MHz · {_decimal(card.current_a)} A"
        if card.fan_rpm is not None:
            yield "fan", f"{count_text(round(card.fan_rpm))} rpm"
        for holder in card.holders:
            yield "held by", f"{holder.pid} {holder.name}".strip()


def _decimal(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
