"""With 256 colours every theme keeps its hues: slate does not turn navy, and text stays readable."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich._palettes import EIGHT_BIT_PALETTE
from rich.color import Color as RichColor
from rich.color import ColorType
from rich.color_triplet import ColorTriplet
from textual.color import Color
from textual.theme import Theme

import ttchat_tui.ui
from tests.ui.chat_app import ChatApp, running
from tests.ui.contrast import ratio
from ttchat_tui.ui.few_colors import NO_HUE, WIDEST_TURN, _oklab, _triplets, honour_256_colors, nearest
from ttchat_tui.ui.themes import load_themes

THEMES = [theme for theme in load_themes([])[0] if not theme.ansi]
ANSI = [theme for theme in load_themes([])[0] if theme.ansi]
SURFACES = ("background", "surface", "panel")
TEXTS = ("foreground", "text-muted", "primary", "secondary", "accent", "success", "warning", "error")
ENOUGH = 4.5
"""As for the colours themselves."""

SEEN = 0.1
"""Distance in Oklab at which two colours of text are told from each other."""

triplets = st.builds(ColorTriplet, *[st.integers(0, 255)] * 3)


def colour(theme: Theme, name: str) -> ColorTriplet:
    return ColorTriplet(*Color.parse(theme.to_color_system().generate()[name]).rgb)


def shown(triplet: ColorTriplet) -> ColorTriplet:
    return ColorTriplet(*EIGHT_BIT_PALETTE[nearest(triplet)])


def keeps_its_hue(triplet: ColorTriplet) -> bool:
    before, after = _oklab(triplet), _oklab(shown(triplet))
    turn = abs(math.atan2(before[2], before[1]) - math.atan2(after[2], after[1]))
    return math.hypot(*after[1:]) < NO_HUE or min(turn, math.tau - turn) <= WIDEST_TURN


def test_the_palette_is_that_of_xterm() -> None:
    assert {number: tuple(triplet) for number, triplet in _triplets()} == {
        number: tuple(EIGHT_BIT_PALETTE[number]) for number in range(16, 256)
    }


def test_the_header_of_the_default_theme_is_not_navy() -> None:
    red, green, blue = shown(ColorTriplet(0x1F, 0x24, 0x3A))
    assert red == green == blue


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_every_colour_of_a_theme_keeps_its_hue_and_every_text_its_contrast(theme: Theme) -> None:
    variables = theme.to_color_system().generate()
    names = [name for name in variables if variables[name].startswith("#")]
    assert [name for name in names if not keeps_its_hue(colour(theme, name))] == []
    backs = {name: Color(*shown(colour(theme, name))) for name in SURFACES}
    low = [
        (text, name)
        for text in TEXTS
        for name, back in backs.items()
        if ratio(Color(*shown(colour(theme, text))), back) < ENOUGH
    ]
    assert low == []


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_the_tints_of_the_inspector_are_told_from_each_other_and_from_other_text(theme: Theme) -> None:
    sheet = (Path(ttchat_tui.ui.__file__).parent / "styles" / "dialogs.tcss").read_text(encoding="utf-8")
    names = [
        re.search(rf"tokens--{tint} {{ color: \$([\w-]+);", sheet) for tint in ("plain", "unsure", "doubtful")
    ]
    tints = [_oklab(shown(colour(theme, name[1]))) for name in names if name is not None]
    assert len(tints) == 3
    assert min(math.dist(one, other) for one, other in itertools.combinations(tints, 2)) > SEEN


@given(triplets)
def test_any_colour_keeps_its_hue_or_has_none(triplet: ColorTriplet) -> None:
    assert keeps_its_hue(triplet)
    assert shown(shown(triplet)) == shown(triplet)


async def test_the_whole_screen_is_drawn_with_colours_of_the_palette(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    honour_256_colors(chat.app)
    screens = set[str]()
    async with running(chat) as pilot:
        for theme in (*THEMES, *ANSI):
            chat.app.theme = theme.name
            await pilot.pause()
            colours = colours_on_screen(chat)
            assert colours, theme.name
            assert ColorType.TRUECOLOR not in {each.type for each in colours}, theme.name
            screens.add(str(colours))
    assert len(screens) == len(THEMES) + len(ANSI), "some theme was not drawn"


def colours_on_screen(chat: ChatApp) -> list[RichColor]:
    strips = [
        strip.apply_filter(each, Color(0, 0, 0))
        for strip in chat.screen._compositor.render_strips()
        for each in chat.app._filters[-1:]
    ]
    return [
        each
        for strip in strips
        for segment in strip
        if segment.style is not None
        for each in (segment.style.color, segment.style.bgcolor)
        if each is not None
    ]
