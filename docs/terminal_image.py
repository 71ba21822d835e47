"""A terminal's screen as an image, drawn with one font, so that it looks the same everywhere. Needs Pillow."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

import pyte
from PIL import Image, ImageDraw, ImageFont  # pyright: ignore[reportMissingImports]

FONTS: Final = Path("/usr/share/fonts/truetype/dejavu")
"""DejaVu Sans Mono has every character that the app draws."""
SIZE: Final = 15
CELL: Final = (9, 18)
"""Pixels."""
FOREGROUND, BACKGROUND = "e3e5f2", "0c0f1d"
"""Of cells that name no colour."""
ANSI: Final[dict[str, str]] = dict(
    zip(
        ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white"),
        ("21222c", "ff5555", "50fa7b", "f1fa8c", "6272a4", "ff79c6", "8be9fd", "f8f8f2"),
        strict=True,
    )
)
"""What pyte calls the colours of a terminal's own palette; the bright ones are drawn alike."""


def image_of(screen: pyte.Screen, scale: int = 1) -> Image.Image:
    width, height = CELL[0] * scale, CELL[1] * scale
    image = Image.new("RGB", (screen.columns * width, screen.lines * height), f"#{BACKGROUND}")
    draw = ImageDraw.Draw(image)
    for row in range(screen.lines):
        for column in range(screen.columns):
            cell = screen.buffer[row][column]
            fore, back = _colours(cell)
            at = (column * width, row * height)
            if back != BACKGROUND:
                draw.rectangle((*at, at[0] + width - 1, at[1] + height - 1), fill=f"#{back}")
            if cell.data.strip():
                font = _font(is_bold=cell.bold, is_italic=cell.italics, scale=scale)
                draw.text(at, cell.data, fill=f"#{fore}", font=font)
            if cell.underscore:
                draw.line((at[0], at[1] + height - 2, at[0] + width, at[1] + height - 2), fill=f"#{fore}")
    return image


@cache
def _font(*, is_bold: bool, is_italic: bool, scale: int) -> Any:
    style = f"{'Bold' * is_bold}{'Oblique' * is_italic}"
    return ImageFont.truetype(FONTS / f"DejaVuSansMono{'-' * bool(style)}{style}.ttf", SIZE * scale)


def _colours(cell: Any) -> tuple[str, str]:
    fore, back = _colour(cell.fg, FOREGROUND), _colour(cell.bg, BACKGROUND)
    return (back, fore) if cell.reverse else (fore, back)


def _colour(name: str, default: str) -> str:
    return default if name == "default" else ANSI.get(name.removeprefix("bright"), name)
