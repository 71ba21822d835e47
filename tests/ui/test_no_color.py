"""Without colours: attributes, links and metadata stay, and backgrounds become reverse video."""

from __future__ import annotations

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from ttchat_tui.ui.no_color import STANDS_OUT, Colourless, luminance, without_colours
from ttchat_tui.ui.themes import load_themes

DARK = Color.parse("#0c0f1d")
THEMES = [theme for theme in load_themes([])[0] if not theme.ansi]


def test_every_colour_goes_and_everything_else_stays() -> None:
    style = Style.parse("bold underline #ff0000 on #0d101e") + Style(meta={"option": 3})
    (segment,) = Colourless(lambda: DARK).apply([Segment("text", style)], DARK)
    assert segment.style is not None
    assert (segment.style.color, segment.style.bgcolor) == (None, None)
    assert (segment.style.bold, segment.style.underline, segment.style.reverse) == (True, True, None)
    assert segment.style.meta == {"option": 3}


@pytest.mark.parametrize("background", ["#a99bff", "#2c3250", "bright_blue"])
def test_a_distinct_background_is_reversed(background: str) -> None:
    assert without_colours(Style.parse(f"on {background}"), DARK).reverse


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_in_every_theme_cursors_and_selections_stand_out_and_surfaces_do_not(theme: Theme) -> None:
    variables = theme.to_color_system().generate()
    ground = Color.parse(variables["background"])

    def stands_out(name: str) -> bool:
        first, second = luminance(Color.parse(variables[name].split()[0])), luminance(ground)
        return (max(first, second) + 0.05) / (min(first, second) + 0.05) >= STANDS_OUT

    shown = (
        "block-cursor-background",
        "block-cursor-blurred-background",
        "input-cursor-background",
        "input-selection-background",
        "scrollbar",
    )
    assert [name for name in shown if not stands_out(name)] == []
    assert [name for name in ("surface", "panel", "scrollbar-background") if stands_out(name)] == []
