"""WCAG 2.1 contrast of colours as Textual resolves them, also for the terminal's own 16."""

from __future__ import annotations

from rich.color import Color as RichColor
from textual.app import App
from textual.color import Color
from textual.widget import Widget

XTERM = [
    "#000000", "#cd0000", "#00cd00", "#cdcd00", "#0000ee", "#cd00cd", "#00cdcd", "#e5e5e5",
    "#7f7f7f", "#ff0000", "#00ff00", "#ffff00", "#5c5cff", "#ff00ff", "#00ffff", "#ffffff",
]  # fmt: skip
"""xterm's default palette, for `ansi_*` colours."""


def ratio(foreground: Color, background: Color) -> float:
    """(L1 + 0.05) / (L2 + 0.05) with the relative luminances of WCAG 2.1, the foreground blended in first."""
    lighter, darker = sorted(
        (_luminance(background.blend(foreground, foreground.a)), _luminance(background))
    )[::-1]
    return (lighter + 0.05) / (darker + 0.05)


def faintest(app: App[None], widget: Widget, row: int) -> float:
    """The lowest contrast of a letter or digit in a row of `widget` as it is drawn."""
    ground = Color.parse("black" if app.current_theme.dark else "white")
    strips = app.screen._compositor.render_strips()
    strip = strips[widget.region.y + row].crop(widget.region.x, widget.region.right)
    return min(
        ratio(_drawn(style.color, ground.inverse), _drawn(style.bgcolor, ground))
        for text, style, _ in strip
        if style is not None and any(map(str.isalnum, text))
    )


def _drawn(color: RichColor | None, default: Color) -> Color:
    if color is None or color.is_default:
        return default
    return Color(*color.triplet) if color.triplet is not None else Color.parse(XTERM[color.number or 0])


def resolve(value: str, background: Color, *, default: Color) -> Color:
    """A theme variable's colour on `background`: `auto 60%`, `#112233`, `ansi_blue`, `ansi_default` (`default`)."""
    name, _, share = value.partition(" ")
    alpha = float(share.rstrip("%")) / 100 if share else 1.0
    if name == "auto":
        return background.get_contrast_text(alpha)
    color = Color.parse(name)
    if color.ansi is not None:
        color = default if color.ansi < 0 else Color.parse(XTERM[color.ansi])
    return color.multiply_alpha(alpha)


def _luminance(color: Color) -> float:
    channels = [c / 255 for c in color.rgb]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
