"""NO_COLOR (no-color.org): output without colours; distinct backgrounds become reverse video.

Textual sends greys under NO_COLOR. Here only the terminal's two default colours are used. Cursor, selection, highlighted
rows and scrollbar thumbs have distinct backgrounds, so they are reversed; bold, underline and other attributes stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter

from ttchat_tui.ui.textual_patches.privates import line_filters

STANDS_OUT: Final = 1.4
"""WCAG contrast with the screen's background from which a background is reversed. In the shipped themes, surfaces and
panels have at most 1.36; selections, cursors and scrollbars have at least 1.5."""


class Colourless(LineFilter):
    """Removes the colours from every line."""

    def __init__(self, ground: Callable[[], Color]) -> None:
        """`ground` returns the screen's background, which changes with the theme."""
        super().__init__()
        self._ground = ground

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        ground = self._ground()
        return [
            Segment(text, style if style is None else without_colours(style, ground), control)
            for text, style, control in segments
        ]


def honour_no_color(app: App[Any]) -> None:
    """If NO_COLOR is set, replace Textual's line filters by `Colourless`."""
    if app.no_color:
        # Textual has chosen Monochrome by now, which sends greys.
        line_filters(app)[:] = [Colourless(lambda: _ground_of(app))]


@lru_cache(4096)
def without_colours(style: Style, ground: Color) -> Style:
    """`style` without colours; reversed if its background is distinct from `ground`."""
    plain = style.without_color
    if style.meta:
        plain += Style(meta=style.meta)
    return plain + Style(reverse=True) if _stands_out(style, ground) else plain


def _stands_out(style: Style, ground: Color) -> bool:
    background = style.bgcolor
    if background is None or background.type is ColorType.DEFAULT:
        return False
    if background.triplet is None:
        return True  # one of the terminal's 16 colours, which themes use for distinct backgrounds only
    lighter, darker = sorted((luminance(Color(*background.triplet)), luminance(ground)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05) >= STANDS_OUT


def luminance(color: Color) -> float:
    """WCAG's relative luminance, 0 to 1."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color.normalized
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _ground_of(app: App[Any]) -> Color:
    return app.screen_stack[0].styles.background if app.screen_stack else Color(0, 0, 0)
