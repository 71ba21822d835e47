"""Streamed text looks like the whole text, and its cost does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.screen import cut, drawn, drawn_text, streamed, whole
from ttchat_tui.ui.markdown import document as documents
from ttchat_tui.ui.markdown.blocks import Align
from ttchat_tui.ui.markdown.document import Document
from ttchat_tui.ui.markdown.tables import TableColumns
from ttchat_tui.ui.markdown.text_rows import PIECE

DATA = Path(__file__).parent / "data"
EXAMPLES = json.loads((DATA / "markdown_examples.json").read_text(encoding="utf-8"))
REPLY = (DATA / "reply.md").read_text(encoding="utf-8")

LONG = {
    "a table that widens after its first rows": "| a | b |\n|---|:-:|\n"
    + "| r | s |\n" * 30
    + "| wider **cell** | `s` |\n",
    "an honest flag and hidden words": "🏴\U000e0067\U000e0062\U000e007f and\U000e0068\U000e0069 a\u200bb\n",
    "a quoted table": "> | a | b |\n> |---|---|\n" + "> | r | s |\n" * 40,
    "a comment across windows of code": "```java\n"
    + ("int a;\n" * 13 + "/* c\n" + "x\n" * 9 + "*/ int b;\n") * 3
    + "```\n",
    "a string across windows of code": "```py\n"
    + "x = 1 # c\n" * 14
    + '"""\n'
    + "doc\n" * 20
    + '"""\nreturn 1\n',
    "more code than is coloured in one go": "```py\n" + "value = call(1, 'text')  # note\n" * 300 + "```\n",
    "one line of code": "```\n" + "{a:1}" * 900 + "\n```\n",
    "emphasis across a long paragraph": "- " + "*a " * 400 + "b* c\n",
    "brackets that never close": "[x " * 400 + "y\n",
    "a code span across a long paragraph": "`" + "code " * 1000 + "`\n",
    "a long paragraph that becomes a heading": "word " * 400 + "\nmore\n---\n",
    "a long paragraph with a table at its end": "word " * 400 + "\n| a | b |\n|---|---|\n",
    "text without blanks": "z" * 2500 + "\n",
    "wide characters": "日本" * 700 + "\n",
    "a long list": "- item **b**\n" * 40,
    "an unclosed thought": "<think>\n" + "so it goes\n\n" * 60,
    "an unclosed comment": "<!-- x\n" + "html\n" * 50,
    "a definition after its link": "[a][b] and [b]\n\n" + "word " * 300 + "\n\n[b]: /url\n",
}

PIECES = st.sampled_from([*LONG.values(), *(example + "\n\n" for example in EXAMPLES)])
LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@pytest.mark.parametrize("width", [24, 79])
@pytest.mark.parametrize("source", [REPLY, *LONG.values()], ids=["reply", *LONG])
def test_token_by_token_shows_what_the_whole_shows(source: str, width: int) -> None:
    lengths = [3, 5, 4] if source is REPLY else [13, 5, 40]
    assert drawn(streamed(cut(source, lengths)), width) == drawn(whole(source), width)


@settings(max_examples=sized(13, 400), deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=4), LENGTHS, st.integers(10, 120))
def test_any_split_of_any_text_shows_what_the_whole_shows(
    parts: list[str], lengths: list[int], width: int
) -> None:
    source = "".join(parts)
    assert drawn(streamed(cut(source, lengths)), width) == drawn(whole(source), width)


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17])
@pytest.mark.parametrize("block", ["```\nx\n```", "1. item", "<div>x</div>", "***", "~~~", "text\n\nx"])
def test_a_seeming_table_row_may_begin_another_block(block: str, rows: int) -> None:
    source = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * rows + block
    assert drawn(streamed(source), 40) == drawn(whole(source), 40)


def test_markers_beyond_a_hundred_are_text() -> None:
    shown = drawn_text(whole("> " * 20_000 + "deep"), 60)
    assert shown[0].startswith("▎ ▎ ")
    assert shown[0].endswith("> > >")
    assert shown[-1].endswith("> deep")


LINKS = st.sampled_from(
    [
        *("[a]\n", "see [a] and [b][a]\n\n", "> [a]\n", "- [b]\n", "# [a]\n", "word\n\n", "- item\n" * 40),
        "| [a] | b |\n|---|---|\n" + "| r | [b] |\n" * 16,
        *("[a]: /url\n\n", "[a]: /other\n", "> [a]: /quoted\n\n", "[b]: <x y> 'title'\n\n"),
    ]
)
"""Links before and after their definitions, within one block and across many."""


@settings(max_examples=sized(50, 1500), deadline=None)
@given(st.lists(LINKS, min_size=1, max_size=6), LENGTHS)
def test_a_link_finds_its_definition_wherever_the_text_is_cut(parts: list[str], lengths: list[int]) -> None:
    source = "".join(parts)
    assert drawn(streamed(cut(source, lengths)), 40) == drawn(whole(source), 40)


def test_a_link_that_was_drawn_before_its_definition_came_leads_there_in_the_end() -> None:
    assert drawn_text(streamed(["See", " [docs].\n\n[docs]: /url\n"]), 40) == [
        "See docs ‹/url›.",
        "",
        "[docs]: /url",
    ]


def test_half_an_address_does_not_become_a_link() -> None:
    assert drawn_text(streamed(["- [b]\n> [b]: /u", "rl\n\n"]), 40) == [" • b ‹/url›", "", "▎ [b]: /url"]


@settings(max_examples=sized(50, 1500), deadline=None)
@given(st.text("ab *_`~[]()<>&;#-+|\\\n\r\t\x1b\u202e!:1.", max_size=60), LENGTHS)
def test_any_characters_show_alike_however_they_are_split(source: str, lengths: list[int]) -> None:
    assert drawn(streamed(cut(source, lengths)), 30) == drawn(whole(source), 30)


@settings(max_examples=sized(33, 1000), deadline=None)
@given(st.text(max_size=80))
def test_no_control_character_of_any_text_is_drawn(source: str) -> None:
    text = "".join(drawn_text(whole(source), 30))
    assert not [
        char for char in text if char < " " or "\x7f" <= char <= "\x9f" or "\u202a" <= char <= "\u202e"
    ]


@pytest.mark.parametrize("entity", ["&#27;", "&#x1b;", "&#x9b;", "&#x202e;", "&#13;"])
def test_a_control_character_spelled_as_an_entity_is_not_drawn_either(entity: str) -> None:
    text = "".join(drawn_text(whole(f"a{entity}[31m `b`"), 40))
    assert text.isprintable()


def test_markup_and_html_are_shown_as_they_were_written() -> None:
    assert drawn_text(whole("[bold]x[/bold] [@click=app.quit]q[/]"), 60) == [
        "[bold]x[/bold] [@click=app.quit]q[/]"
    ]
    assert drawn_text(whole("<b>x</b>\n\n<div>\ny"), 60) == ["<b>x</b>", "", "<div>", "y"]


def test_lists_keep_their_numbers_and_hang_their_text() -> None:
    shown = drawn_text(whole("9. nine words that wrap here\n9. ten\n   - inner\n- [x] done"), 20)
    assert shown == [" 9. nine words that", "    wrap here", "10. ten", "     • inner", " ✓ done"]


def test_a_table_has_one_width_for_all_rows_and_wraps_its_cells() -> None:
    source = "| op | time |\n|---|--:|\n| a long operation | 1 |\n" + "| b | 22 |\n" * 20
    assert drawn_text(whole(source), 40)[:3] == [
        "op               │ time",
        "─────────────────┼─────",
        "a long operation │    1",
    ]
    assert drawn_text(whole(source), 16)[:4] == [
        "op        │ time",
        "──────────┼─────",
        "a long    │    1",
        "operation │",
    ]


def test_a_narrow_table_breaks_no_word_while_another_column_has_room() -> None:
    source = (
        "| name | where | what it is good for |\n|---|---|---|\n"
        "| smollm2 | `https://example.org/a/b` | quick answers and trying the app out on a laptop without a card |\n"
    )
    assert drawn_text(whole(source), 60) == [
        "name    │ where                   │ what it is good for",
        "────────┼─────────────────────────┼─────────────────────────",
        "smollm2 │ https://example.org/a/b │ quick answers and trying",
        "        │                         │ the app out on a laptop",
        "        │                         │ without a card",
    ]


def test_a_word_too_long_for_any_table_has_lines_of_its_own() -> None:
    source = f"| word | words |\n|---|---|\n| {'x' * 60} | {'some words ' * 4} |\n"
    assert drawn_text(whole(source), 43) == [
        "─" * 43,
        "word: " + "x" * 37,
        "  " + "x" * 23,
        "words: some words some words some words",
        "  some words",
        "─" * 43,
    ]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8),
    st.integers(1, 120),
)
def test_columns_fill_the_room_and_are_never_wider_than_their_cells(
    sizes: list[tuple[int, int]], room: int
) -> None:
    natural = [max(pair) for pair in sizes]
    words = [min(pair) for pair in sizes]
    aligns: list[Align] = ["left"] * len(sizes)
    widths = TableColumns(natural, words, aligns).widths(room)
    left = room - 3 * (len(sizes) - 1)
    if widths:
        assert sum(widths) == min(left, sum(natural))
        assert all(1 <= width <= most for width, most in zip(widths, natural, strict=True))
        assert all(width >= least for width, least in zip(widths, words, strict=True))
    else:
        assert left < max(3 * len(sizes), sum(words))


def test_a_link_shows_its_address_unless_its_text_is_the_address() -> None:
    assert drawn_text(whole("[docs](https://a.b/c) <https://d.e>"), 60) == [
        "docs ‹https://a.b/c› https://d.e"
    ]


def test_a_paragraph_cut_into_pieces_wraps_as_if_it_were_one() -> None:
    text = "word and another " * 200
    document = streamed(cut(text, [40]))
    rows = [row for chunk in document.chunks for row in chunk.rows]
    assert len(rows) > 2
    shown = drawn_text(document, 50)
    assert " ".join(shown).split() == text.split()
    assert min(map(len, shown[:-1])) > 50 - len("another ")


@pytest.mark.parametrize("name", ["text", "code", "list", "table"])
def test_an_update_touches_a_bounded_tail_however_long_the_reply_is(name: str) -> None:
    unit, head = {
        "text": ("Some words of prose that go on and on. ", ""),
        "code": ("value = call(1)  # note\n", "```py\n"),
        "list": ("- an item with **bold**\n", ""),
        "table": ("| a cell | another |\n", "| a | b |\n|---|---|\n"),
    }[name]
    document = Document()
    document.feed(head)
    for _ in range(1000):
        document.feed(unit)
        first = document.update()
        tail = document.chunks[-1]
        assert len(document.chunks) - first <= 2
        assert sum(len(row.plain) for row in tail.rows) < 4 * PIECE
    assert len(document.chunks) < 60
    full = [chunk for chunk in document.chunks[:-1] if chunk.cost < documents.PAGE]
    assert len(full) <= 1


@pytest.mark.parametrize("unit", ["|$a", "some words ", "| a ", "`a", "\\|"])
def test_a_table_row_that_does_not_end_is_drawn_by_its_beginning_and_its_latest_words(unit: str) -> None:
    head, row = "| a | b |\n|---|---|\n", "| first " + unit * 2000
    document = Document()
    document.feed(head)
    for piece in cut(row, [400]):
        document.feed(piece)
        document.update()
        assert len(document.chunks[-1].rows[-1].plain) < 4 * PIECE
    shown = document.chunks[-1].rows[-1]
    assert shown.plain.startswith("first ")
    assert row.endswith(shown.plain.removesuffix(" │ ").rpartition(" … ")[2])
    assert shown.source == row
    document.feed("\nthe end")
    document.update()
    document.finish()
    assert drawn(document, 60) == drawn(whole(f"{head}{row}\nthe end"), 60)


def test_a_closed_chunk_is_not_drawn_again() -> None:
    document = Document()
    document.feed("- item\n" * 400)
    document.update()
    before = [list(chunk.rows) for chunk in document.chunks[:2]]
    document.feed("- item\n" * 40)
    document.update()
    for old, chunk in zip(before, document.chunks, strict=False):
        assert all(row is mine for row, mine in zip(old, chunk.rows, strict=True))
