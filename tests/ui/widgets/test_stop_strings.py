"""Stop strings as text: all of them survive the round trip, and nothing invisible is shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.ui.widgets.sampling.stop_strings import (
    StopStringsError,
    format_stop_strings,
    parse_stop_strings,
)

stop_strings = st.lists(st.text(min_size=1, max_size=30), max_size=16, unique=True).map(tuple)


@given(stop_strings)
def test_all_stop_strings_come_back_from_their_text(items: tuple[str, ...]) -> None:
    assert parse_stop_strings(format_stop_strings(items)) == items


@given(stop_strings)
def test_the_text_shows_everything(items: tuple[str, ...]) -> None:
    assert format_stop_strings(items).isprintable()


@given(st.text(alphabet='ab ,"\\nu0041', max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        items = parse_stop_strings(text)
    except StopStringsError:
        return
    assert all(items)
    assert parse_stop_strings(format_stop_strings(items)) == items


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("", ()),
        (" , ", ()),
        ("END", ("END",)),
        ("a b,c, d", ("a", "b", "c", "d")),
        (r"\n\n", ("\n\n",)),
        (r'"User: " \"', ("User: ", '"')),
        (r'"a, b"', ("a, b",)),
        (r"\u00e9 \U0001f600", ("é", "😀")),
        ("a a", ("a",)),
    ],
)
def test_text_is_read_as_it_looks(text: str, items: tuple[str, ...]) -> None:
    assert parse_stop_strings(text) == items


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('"open', "not closed"),
        ('a"b', "not closed"),
        ('"a"b', "not closed"),
        ('""', "empty"),
        (r"\q", "escape"),
        ("a\\", "not closed"),
        (r"\ud800", "not a character"),
        (r"\U00110000", "not a character"),
        ("x" * 257, "256"),
        (" ".join(f"s{i}" for i in range(17)), "16"),
    ],
)
def test_an_invalid_stop_string_is_refused_with_a_reason(text: str, problem: str) -> None:
    with pytest.raises(StopStringsError, match=problem):
        parse_stop_strings(text)
