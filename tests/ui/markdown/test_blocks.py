"""The block parser finds what markdown-it finds in the complete text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.reference import our_leaves, reference_leaves

EXAMPLES = json.loads((Path(__file__).parent / "data" / "markdown_examples.json").read_text(encoding="utf-8"))

PIPE_IN_CODE = "| `x|y` | c |\n|---|---|"
"""GFM lets the pipe end the cell, so that this is no table."""

FRAGMENTS = (
    *(
        "- ",
        "* ",
        "+ x",
        "1. x",
        "2. y",
        "7) z",
        "> ",
        "# ",
        "## x",
        "#",
        "```",
        "~~~",
        "```py",
        "<div>",
        "</div>",
    ),
    *(
        "    ",
        "  ",
        " ",
        "   ",
        "foo",
        "bar **b**",
        "***",
        "---",
        "===",
        "<a b>",
        "<!-- x",
        "-->",
        "<script>",
    ),
    *("</script>", "*", "_", "`", "\\", "[x] ", "[ ] do", "[b]", "- - ", "123456789. a"),
)
"""Beginnings of blocks, and text that may or may not continue one. Tables and definitions have tests of their own:
markdown-it lets them begin where GFM and CommonMark's own parser do not."""

LINES = st.lists(st.lists(st.sampled_from(FRAGMENTS), max_size=4).map("".join), max_size=9)

PARAGRAPHS = st.sampled_from(
    [
        "text\nmore",
        "| a | b |\n|---|:-:|\n| 1 | 2 |\n| 3 |",
        "text\na | b\n--|--\n1 | 2 | 3",
        "| one |\n| --- |\nno pipes\n\n| x\\|y |\n|-|",
        "> | q | r |\n> |:--|--:|\n> | 1 | 2 |\nlazy",
        "- | in | item |\n  |----|------|\n  | x | y |\n- z",
        "| a | b |\n|---|---|\n- list ends it",
        "| a |\n|---|---|\n| not a table |",
        "[a]: /u",
        "[a]: /u 'title'\n[b]: <v>",
        "[a]:\n/u\n'two\nlines'",
        "[no definition",
        "- [a]: /u\n\n  text",
        "[a]: /u\ntext after it",
    ]
)


@pytest.mark.parametrize("source", [source for source in EXAMPLES if source != PIPE_IN_CODE])
def test_each_construct_is_found_as_markdown_it_finds_it(source: str) -> None:
    assert our_leaves(source) == reference_leaves(source)


def has_lazy_line_under_a_wide_marker(source: str) -> bool:
    """CommonMark: four columns make code, which cannot end a paragraph. Where an item's content begins further right,
    markdown-it asks from there, sees no code, and lets a quote or a list begin."""
    return re.search(r"123456789\. a.*\n(?:.*\n)* {4}", source) is not None


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("123456789. a\n    > ", [("paragraph", "a\n>")]),
        ("> a\n    > b", [("paragraph", "a\n> b")]),
        (">\n    > b", [("code", "> b")]),
    ],
)
def test_four_columns_are_code_or_continue_a_paragraph(source: str, found: list[tuple[str, str]]) -> None:
    """CommonMark 0.31, 4.4 and 5.1, where markdown-it has ways of its own."""
    assert [(kind, text) for kind, *_, text in our_leaves(source)] == found


def is_markdown_its_own_way(source: str) -> bool:
    """CommonMark: four columns make code, or continue a paragraph. markdown-it takes an indented `>` for the next line
    of a quote; and where an item's content begins further right, it asks from there, and lets any block begin."""
    return re.search(r" {4}>|123456789\. a.*\n(?:.*\n)* {4}", source) is not None


@settings(max_examples=sized(200, 6000), deadline=None)
@given(LINES)
def test_any_mix_of_block_starts_is_found_as_markdown_it_finds_it(lines: list[str]) -> None:
    source = "\n".join(lines)
    assume(not is_markdown_its_own_way(source))
    assert our_leaves(source) == reference_leaves(source)


@settings(max_examples=sized(66, 2000), deadline=None)
@given(st.lists(PARAGRAPHS, min_size=1, max_size=4))
def test_tables_and_definitions_are_found_as_markdown_it_finds_them(paragraphs: list[str]) -> None:
    source = "\n\n".join(paragraphs)
    assert our_leaves(source) == reference_leaves(source)
