"""The window on a conversation: bounded, and large enough to fill the screen if there is more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.geometry import Size

from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.window import FIRST_LINES, MOST_LINES, MOST_MESSAGES, Window

LENGTHS = st.lists(st.sampled_from([0, 1, 20, 200, 1000, 5000]), min_size=1, max_size=60)
Views = list[MessageView]


def of(lengths: list[int]) -> Views:
    """Messages of so many lines."""
    return [MessageView(key, "user", "\n" * lines, title="You") for key, lines in enumerate(lengths)]


def lines_in(views: Views, window: Window) -> int:
    return sum(windows.estimated_lines(view) for view in views[window.first : window.end])


def is_enough(views: Views, window: Window, least: int = FIRST_LINES) -> bool:
    """It fills a screen, or holds all there is, or as many messages as it may."""
    is_all = window == Window(0, len(views))
    return is_all or len(window) >= MOST_MESSAGES or lines_in(views, window) >= least


@given(LENGTHS, st.builds(Size, st.integers(1, 300), st.integers(1, 100)))
def test_a_conversation_opens_with_two_screens(lengths: list[int], size: Size) -> None:
    views = of(lengths)
    window = windows.newest(views, size)
    assert window.end == len(views)
    assert is_enough(views, window, 2 * size.height)


@pytest.mark.parametrize("make", [partial(windows.newest, size=Size(0, 0)), windows.oldest])
@given(lengths=LENGTHS)
def test_a_conversation_opens_with_enough(lengths: list[int], make: Callable[[Views], Window]) -> None:
    views = of(lengths)
    assert is_enough(views, make(views))


@given(LENGTHS, st.data())
def test_a_trimmed_window_fills_the_screen_within_the_limits(lengths: list[int], data: st.DataObject) -> None:
    views = of(lengths)
    first = data.draw(st.integers(0, len(views) - 1))
    window = windows.trimmed(views, Window(first, len(views)), keep=len(views) - 1)
    assert window.end == len(views)
    assert window.first >= first
    assert window.first == first or is_enough(views, window)
    rest = Window(window.first + 1, window.end)  # without its oldest message it would be within the limits
    assert lines_in(views, rest) <= MOST_LINES or lines_in(views, rest) < FIRST_LINES
    assert len(rest) <= MOST_MESSAGES


@given(LENGTHS, st.data())
def test_a_window_that_lost_a_message_is_filled_again(lengths: list[int], data: st.DataObject) -> None:
    views = of(lengths)
    first = data.draw(st.integers(0, len(views)))
    end = data.draw(st.integers(first, len(views)))
    filled = windows.filled(views, Window(first, end))
    assert filled.first <= first
    assert filled.end >= end
    assert is_enough(views, filled)


def test_a_window_of_folded_thoughts_fills_the_screen() -> None:
    thinking = "<think>\n" + "Hm.\n" * 2_000 + "</think>\n\nYes."
    views = [MessageView(key, "assistant", thinking) for key in range(100)]
    assert len(windows.newest(views, Size(0, 0))) > 20
    said = [MessageView(key, "assistant", "Hm.\n" * 2_000) for key in range(100)]
    assert len(windows.newest(said, Size(80, 24))) == 1
