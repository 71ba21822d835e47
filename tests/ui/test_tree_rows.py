"""The rows of the tree: every message once, versions in order of creation, whatever the shape."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.style import Style

from tests.size import sized
from ttchat_tui.domain.outline import OutlineEntry
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.ui.screens.tree_rows import (
    RowStyles,
    TreeRow,
    beginning_of,
    guides_of,
    marks_of,
    matching,
    rows_of,
    strip_of,
)


def entry(number: int, parent: int | None, **fields: Any) -> OutlineEntry:
    return OutlineEntry(number, parent, "assistant", "complete", 0.0, f"text {number}", **fields)


def shape(rows: list[TreeRow]) -> list[tuple[int, int]]:
    return [(row.entry.id, row.depth) for row in rows]


def test_the_newest_version_comes_last_and_straight() -> None:
    entries = [entry(1, None), entry(2, 1), entry(3, 1), entry(4, 2), entry(5, 3), entry(6, 1), entry(7, 6)]
    assert shape(rows_of(entries, [])) == [(1, 0), (2, 1), (4, 1), (3, 1), (5, 1), (6, 0), (7, 0)]


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 40))
@settings(max_examples=sized(30, 2000), deadline=None)
def test_each_message_has_one_row_below_its_parent(choices: list[int], opened: int) -> None:
    entries = [
        entry(number, None if (above := choice % number) == 0 else above)
        for number, choice in enumerate(choices, start=1)
    ]
    parents = {each.id: each.parent_id for each in entries}
    path: list[int] = []
    at = parents.get(opened) and opened
    while at:
        path.append(at)
        at = parents[at]
    rows = rows_of(entries, path)
    places = {row.entry.id: place for place, row in enumerate(rows)}
    assert sorted(places) == sorted(parents)
    for child, parent in parents.items():
        assert parent is None or places[parent] < places[child]
    assert shape(rows) == shape(rows_of(entries, [])), "the same map, whichever branch is on screen"
    for number in range(len(entries) + 1):
        versions = [row.entry.id for row in rows if row.entry.parent_id == (number or None)]
        assert versions == sorted(versions)
    assert sum(row.is_open for row in rows) == len(path)


def test_versions_say_in_what_they_differ() -> None:
    calm, warm = SamplingParams(temperature=0.2), SamplingParams(temperature=0.9, top_k=0)
    entries = [
        entry(1, None, sampling=calm),
        entry(2, 1, sampling=calm, is_edited=True),
        entry(3, 1, sampling=warm),
        OutlineEntry(4, 3, "assistant", "interrupted", 0.0, "", sampling=calm),
    ]
    assert [marks_of(row) for row in rows_of(entries, [1, 3, 4])] == [
        [],
        ["temperature 0.2", "top-k 40", "edited"],
        ["temperature 0.9", "top-k 0"],
        ["stopped"],
    ]


def test_rows_are_filtered_by_what_they_show() -> None:
    entries = [entry(1, None, model="Qwen"), entry(2, 1, branch_name="Calm sea"), entry(3, 1, is_edited=True)]
    rows = rows_of(entries, [])
    found = {
        typed: [row.entry.id for row in matching(rows, typed)] for typed in ("", "TEXT sea", "qwen", "edited")
    }
    assert found == {"": [1, 2, 3], "TEXT sea": [2], "qwen": [1], "edited": [3]}


def test_a_narrow_row_has_words_whatever_is_special_about_it() -> None:
    style = Style()
    settings = ("temperature 1.9", "top-k 40", "stopped early")
    said = msgspec.structs.replace(entry(1, None), beginning="**42** is it", model="m" * 40)
    row = TreeRow(said, 1, is_fork=True, is_open=True, settings=settings, author="")
    assert "42 is it" in strip_of(row, 56, RowStyles(style, style, style, style)).text


def test_all_versions_hang_in_one_column_and_what_follows_the_last_goes_straight_on() -> None:
    rows = rows_of([entry(1, None), entry(2, 1), entry(3, 1), entry(4, None), entry(5, 4), entry(6, 3)], [])
    assert [(row.entry.id, guides_of(row, 80)) for row in rows] == [
        (1, "├─"),
        (2, "│ ├─"),
        (3, "│ └─"),
        (6, "│ "),
        (4, "└─"),
        (5, ""),
    ]


def test_deep_branches_leave_room_for_their_words() -> None:
    row = TreeRow(entry(1, None), depth=50, is_fork=True, is_open=False, hangs=True)
    assert guides_of(row, 80) == "… " + "│ " * 9 + "├─"
    assert guides_of(TreeRow(entry(1, None), 2, False, False), 80) == "│ │ "


def test_a_beginning_is_one_line_without_the_thought_and_without_control_bytes() -> None:
    text = "<think>\nhm\n</think>\n\nIt\x1b[31m is\n\nred."
    row = OutlineEntry(1, None, "assistant", "complete", 0.0, text)
    assert "\x1b" not in beginning_of(row)
    assert beginning_of(row).startswith("It")
    assert "\n" not in beginning_of(row)


def test_a_reply_that_is_still_in_its_thoughts_begins_with_them_without_their_tag() -> None:
    for text in ("<think>\nOkay, the user", "[THINK]Okay, the user"):
        assert beginning_of(OutlineEntry(1, None, "assistant", "complete", 0.0, text)) == "Okay, the user"
    said = "<think> is a tag"
    assert beginning_of(OutlineEntry(1, None, "user", "complete", 0.0, said)) == said


def test_a_row_shows_the_day_of_an_old_message_where_there_is_room() -> None:
    style = Style()
    row = TreeRow(entry(1, None), 0, is_fork=False, is_open=True)
    shown = {
        width: strip_of(row, width, RowStyles(style, style, style, style)).text for width in (120, 80, 40)
    }
    assert {width: cell_len(text) for width, text in shown.items()} == {120: 120, 80: 80, 40: 40}
    assert [str(time.localtime(0.0).tm_year) in text for text in shown.values()] == [True, False, False]
