"""Copying a selection yields the source: list numbers, bullets, bars, fences and all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.geometry import Offset
from textual.selection import SELECT_ALL, Selection

from tests.size import sized
from tests.ui.markdown.screen import cut, drawn, streamed, whole
from ttchat_tui.ui.markdown.document import Document
from ttchat_tui.ui.markdown.plain import plain_chunks
from ttchat_tui.ui.markdown.visual import RowsVisual

DATA = Path(__file__).parent / "data"
EXAMPLES = json.loads((DATA / "markdown_examples.json").read_text(encoding="utf-8"))
REPLY = (DATA / "reply.md").read_text(encoding="utf-8")
LISTS = "1. one\n2. two **bold**\n   - inner\n\n3. three\n\n- [x] done\n"


def copied(document: Document, selection: Selection = SELECT_ALL) -> str:
    """As the screen puts it together from the chunks."""
    text = ""
    for chunk in document.chunks:
        text += RowsVisual(chunk.rows).selected_text(selection)
        text += "" if chunk.rows and chunk.rows[-1].flows_on else "\n"
    return text.rstrip("\n")


def part(source: str, start: tuple[int, int], end: tuple[int, int]) -> str:
    """From one (row, character) to another."""
    rows = [row for chunk in whole(source).chunks for row in chunk.rows]
    return RowsVisual(rows).selected_text(Selection(Offset(start[1], start[0]), Offset(end[1], end[0])))


def bare(source: str) -> list[str]:
    """Lines that hold something."""
    return [line.rstrip() for line in source.split("\n") if line.strip("> \t")]


@pytest.mark.parametrize(
    "source", [LISTS, REPLY, "> quoted\n> - item\n\n| a | b |\n|---|:-:|\n| 1 | `x|y` |"]
)
def test_a_whole_message_is_copied_as_source(source: str) -> None:
    assert copied(whole(source)) == source.rstrip("\n")


@pytest.mark.parametrize("source", EXAMPLES)
def test_no_line_of_any_construct_is_missing_in_the_copy(source: str) -> None:
    assert bare(copied(whole(source))) == bare(source)


@settings(max_examples=sized(20, 600), deadline=None)
@given(
    st.lists(
        st.sampled_from([LISTS, REPLY, "word " * 700, "```\n" + "x = 1\n" * 90 + "```\n", "$$\n- a\n\n$$\n"]),
        max_size=3,
    ),
    st.lists(st.integers(1, 90), min_size=1, max_size=4),
)
def test_a_streamed_message_is_copied_as_source(parts: list[str], lengths: list[int]) -> None:
    source = "\n\n".join(parts)
    document = streamed(cut(source, lengths))
    assert bare(copied(document)) == bare(copied(whole(source)))
    assert bare(copied(document)) == bare(source)
    assert drawn(document, 60) == drawn(whole(source), 60)


def test_a_part_of_a_row_is_that_part_of_its_source() -> None:
    assert part("- an item **in bold** here", (0, 8), (0, 15)) == "in bold"
    assert part("- an item **in bold** here", (0, 0), (0, 7)) == "- an item"
    assert part("a [link](https://a.b) b", (0, 2), (0, 6)) == "link"
    assert part(LISTS, (0, 0), (1, 3)) == "1. one\n2. two"
    assert part(LISTS, (0, 1), (2, 5)) == "ne\n2. two **bold**\n   - inner"


def test_text_after_a_break_is_copied_by_itself_and_a_heading_keeps_its_underline() -> None:
    assert part("- first<br>*second*\n  third", (1, 0), (1, 6)) == "*second*"
    assert part("- first<br>*second*\n  third", (0, 0), (0, 5)) == "- first<br>"
    assert part("- first<br>*second*\n  third", (1, 1), (2, 2)) == "econd*\n  th"
    assert copied(whole("`<br>` one<br>two\n===\n\nend")) == "`<br>` one<br>two\n===\n\nend"


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("a `<br>\nb` c<br>d", ["a `<br>\nb` c<br>", "d"]),
        ("`<br>` a<br>b\n`c\nd` e", ["`<br>` a<br>", "b", "`c\nd` e"]),
        ("x<br>y\\\nz `a<br>b`", ["x<br>", "y\\", "z `a<br>b`"]),
        ("a<br/>b  \n`c\nd`\ne", ["a<br/>", "b  ", "`c\nd`", "e"]),
        ("one\n``a ` <BR>\nb``\ntwo<br />\n\\`three\nfour`", ["one", "``a ` <BR>\nb``", "two<br />", "", "\\`three", "four`"]),
        ("-\n  a `b\n  c`<br>d", ["-\n  a `b\n  c`<br>", "d"]),
        ("> a `b\n> c` d\n> e", ["> a `b\n> c` d", "> e"]),
        ("a `b<br>c\nd", ["a `b<br>", "c", "d"]),
        ("$a<br>b$ c\nd", ["$a<br>b$ c\nd", None]),
    ],
)  # fmt: skip
def test_each_row_is_copied_as_its_own_part_of_the_source(source: str, rows: list[str | None]) -> None:
    found = [row.source for chunk in whole(source).chunks for row in chunk.rows]
    assert found == rows
    assert copied(whole(source)) == source


def test_code_selected_by_itself_has_no_fence() -> None:
    source = "```py\na = 1\nb = 2\n```\n\ntext"
    assert part(source, (1, 0), (2, 5)) == "a = 1\nb = 2"
    assert part(source, (0, 0), (4, 4)) == source


def test_a_users_message_keeps_its_tabs() -> None:
    assert RowsVisual(plain_chunks("\ta\n b")[0].rows).selected_text(SELECT_ALL) == "\ta\n b"
