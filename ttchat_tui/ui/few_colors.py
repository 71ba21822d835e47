"""Terminals with 256 colours: each theme colour is mapped to the most similar one of the same hue.

Rich rounds red, green and blue separately to the six steps of the colour cube (0, 0x5f, …), which turns dark slate into
navy. Here the greys are candidates too, and distance is perceptual.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color as TextualColor
from textual.filter import LineFilter

from ttchat_tui.ui.textual_patches.privates import line_filters

NO_HUE: Final = 0.02
"""OKLab chroma below which a colour counts as grey."""

WIDEST_TURN: Final = math.radians(25)
"""The largest difference in hue, in radians, between a colour and its replacement."""

_CUBE: Final = (0, 95, 135, 175, 215, 255)
_FIRST_OF_CUBE: Final = 16  # the 16 before it are defined by the terminal
_FIRST_GREY: Final = 232


class FewColors(LineFilter):
    """Replaces all colours by ones of the 256."""

    def apply(self, segments: list[Segment], background: TextualColor) -> list[Segment]:
        return [
            Segment(text, style if style is None else _in_palette(style), control)
            for text, style, control in segments
        ]


def honour_256_colors(app: App[Any]) -> None:
    """Add `FewColors` to the app's line filters. For terminals with 256 colours."""
    if not app.no_color:
        line_filters(app).append(FewColors())


@lru_cache(4096)
def nearest(triplet: ColorTriplet) -> int:
    """The number of the most similar colour."""
    lab = _oklab(triplet)
    alike = ((number, other) for number, other in _palette() if _is_of_its_hue(other, lab))
    return min(alike, key=lambda each: math.dist(each[1], lab))[0]


@lru_cache(4096)
def _in_palette(style: Style) -> Style:
    found = [
        Color.from_ansi(nearest(color.triplet))
        if color is not None and color.type is ColorType.TRUECOLOR and color.triplet is not None
        else None
        for color in (style.color, style.bgcolor)
    ]
    return style + Style(color=found[0], bgcolor=found[1]) if any(found) else style


def _is_of_its_hue(other: tuple[float, float, float], lab: tuple[float, float, float]) -> bool:
    if math.hypot(*other[1:]) < NO_HUE:
        return True
    turn = abs(math.atan2(other[2], other[1]) - math.atan2(lab[2], lab[1]))
    return math.hypot(*lab[1:]) >= NO_HUE and min(turn, math.tau - turn) <= WIDEST_TURN


@cache
def _palette() -> tuple[tuple[int, tuple[float, float, float]], ...]:
    """Number and OKLab value of the cube's colours and the greys, which are the same in all terminals."""
    return tuple((number, _oklab(triplet)) for number, triplet in _triplets())


def _triplets() -> Iterator[tuple[int, ColorTriplet]]:
    cube = (ColorTriplet(red, green, blue) for red in _CUBE for green in _CUBE for blue in _CUBE)
    yield from enumerate(cube, _FIRST_OF_CUBE)
    for step in range(24):
        yield _FIRST_GREY + step, ColorTriplet(*[8 + 10 * step] * 3)


def _oklab(triplet: ColorTriplet) -> tuple[float, float, float]:
    """Lightness and two colour axes; distances are perceptual (Ottosson, bottosson.github.io/posts/oklab)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in triplet.normalized
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    medium = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )
