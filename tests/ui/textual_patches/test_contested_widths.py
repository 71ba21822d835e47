"""What follows an emoji is at its column, whatever the terminal takes for the emoji's width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import modes
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.color import Color
from textual.strip import Strip
from textual.widgets import Static
from wcwidth import wcwidth

from tests.size import sized
from ttchat_tui.ui.textual_patches import contested_widths as contested_widths  # wraps a method of Textual's

COLUMNS: Final = 60
EMOJI: Final = {
    "a hand with a selector": "\u270d\ufe0f",
    "a heart with a selector": "\u2764\ufe0f",
    "a keycap": "1\ufe0f\u20e3",
    "a family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "a rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "a flag": "\U0001f1e9\U0001f1ea",
    "half a flag": "\U0001f1e9",
    "a skin tone": "\U0001f44d\U0001f3fd",
    "a skin tone on a narrow hand": "\u270d\U0001f3fd",
    "a skin tone alone": " \U0001f3fd",
    "England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "a watch as text": "\u231a\ufe0e",
    "a wide face": "\U0001f600",
}


def adding_up(char: str) -> int:
    """As tmux 3.3 and xterm: each character by itself."""
    return wcwidth(char)


def narrow(char: str) -> int:
    """A skin tone takes no cell, like a selector."""
    return 0 if "\U0001f3fb" <= char <= "\U0001f3ff" else adding_up(char)


def wide(char: str) -> int:
    """Half a flag takes two cells, like other pictographs."""
    return 2 if char >= "\U0001f000" and adding_up(char) > 0 else adding_up(char)


Terminal = Callable[[str], int]
TERMINALS: Final = [adding_up, narrow, wide]


def shown(terminal: Terminal, written: str, monkeypatch: pytest.MonkeyPatch, rows: int = 3) -> list[str]:
    """The rows of a terminal that takes these for the widths of characters. A character is at its column; behind a wide one is
    an empty cell, as blank here."""
    monkeypatch.setattr("pyte.screens.wcwidth", terminal)
    screen = pyte.Screen(COLUMNS, rows)
    screen.set_mode(modes.LNM)
    pyte.Stream(screen).feed(written)
    return [
        "".join((screen.buffer[y][x].data or " ")[0] for x in range(COLUMNS)) for y in range(screen.lines)
    ]


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("emoji", EMOJI.values(), ids=EMOJI)
async def test_the_border_beside_an_emoji_is_in_its_column(
    terminal: Terminal, emoji: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Bordered(App[None]):
        CSS = "Static { border: solid red; width: 30; height: 3; }"

        def compose(self) -> ComposeResult:
            yield Static(f"a {emoji} b {emoji}{emoji} c", markup=False)

    app = Bordered()
    async with app.run_test(size=(COLUMNS, 3)):
        rows = shown(
            terminal, app.screen._compositor.render_full_update().render_segments(app.console), monkeypatch
        )
    before = cell_len(f"│a {emoji} ")
    assert [rows[1][0], rows[1][29], rows[1][30:].strip()] == ["│", "│", ""]
    assert rows[1][before] == "b"
    assert rows[1][before + cell_len(f"b {emoji}{emoji} ")] == "c"


@settings(max_examples=sized(80, 3_000))
@given(
    st.lists(st.sampled_from([*EMOJI.values(), "word", "漢字", " ", "é", "#", "7"]), max_size=9),
    st.sampled_from(TERMINALS),
)
def test_words_between_any_emoji_are_where_they_were_measured(parts: list[str], terminal: Terminal) -> None:
    text = "".join(parts)[:24]
    strip = Strip([Segment(f"{text}|", Style(color="red")), Segment("end", Style(bold=True))])
    with pytest.MonkeyPatch.context() as monkeypatch:
        (row,) = shown(terminal, strip.render(App().console), monkeypatch, rows=1)
    end = cell_len(text)
    assert row[end : end + 4] == "|end"
    assert row[end + 4 :].strip() == ""


def test_a_cell_that_a_terminal_leaves_free_has_the_ground_of_its_row() -> None:
    strip = Strip([Segment("\u270d\ufe0f!", Style(bgcolor=Color(1, 2, 3).rich_color))])
    screen = pyte.Screen(COLUMNS, 1)
    pyte.Stream(screen).feed("x" * COLUMNS)
    screen.cursor_position(1, 1)
    pyte.Stream(screen).feed(strip.render(App().console))
    assert [screen.buffer[0][x].bg for x in range(3)] == ["010203"] * 3
    assert [screen.buffer[0][x].data[0] for x in range(4)] == ["\u270d", " ", "!", "x"]


def test_plain_text_is_written_as_before() -> None:
    strip = Strip([Segment("Plain 漢字 \U0001f600 é 1 #", Style(bold=True))])
    assert strip.render(App().console) == "\x1b[1mPlain 漢字 \U0001f600 é 1 #\x1b[0m"
