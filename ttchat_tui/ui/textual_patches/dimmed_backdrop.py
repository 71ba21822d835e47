"""Modal screens over a long chat: the dimmed screen behind one is drawn from styles that are dimmed once each.

Overrides `Screen.render` of Textual 8.2.8. Its `BackgroundScreen` makes new colours and styles for each piece of text on the
screen, three times while a dialog opens: 60 ms over a chat of 120x40.
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.app import RenderResult
from textual.color import Color
from textual.css.styles import RulesMap
from textual.renderables.background_screen import BackgroundScreen
from textual.screen import ModalScreen, Screen, ScreenResultType
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, Visual

from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen


class DimmedBackdrop(Visual):
    """What a screen shows, dimmed by a colour. It equals Textual's `BackgroundScreen`, cell for cell."""

    def __init__(self, screen: Screen[object], color: Color) -> None:
        self._screen = screen
        self._color = color

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        base, color = style.rich_style, self._color
        return [
            Strip([Segment(text, _dimmed(own, base, color)) for text, own, _ in line]).crop(0, width)
            for line in self._screen._compositor.render_strips()[:height]
        ]

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        return self._screen.size.height


@lru_cache(maxsize=4096)
def _dimmed(style: RichStyle | None, base: RichStyle, color: Color) -> RichStyle:
    [(_, dimmed, _)] = BackgroundScreen.process_segments([Segment("", style)], color)
    return base + dimmed


class DimmingScreen(DirtySpanScreen[ScreenResultType], ModalScreen[ScreenResultType]):
    """A modal screen with a `DimmedBackdrop`."""

    def render(self) -> RenderResult:  # pyright: ignore[reportIncompatibleMethodOverride]
        rendered = super().render()
        if not isinstance(rendered, BackgroundScreen):
            return rendered
        return DimmedBackdrop(cast("Screen[object]", rendered.screen), rendered.color)
