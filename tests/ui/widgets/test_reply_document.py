"""A reply's text on screen: thoughts folded, open or hidden."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.screen import cut, drawn_text
from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.ui.markdown.code_rows import CodeHeader
from ttchat_tui.ui.markdown.fenced_code import code_at
from ttchat_tui.ui.widgets.transcript.folding import Folding, ThoughtDisplay
from ttchat_tui.ui.widgets.transcript.reply_document import ReplyDocument
from ttchat_tui.ui.widgets.transcript.thought_rows import LastLine, ThoughtHeader

THOUGHT = "What is a mesh?\n\n- **many** chips\n\n```\nx = 1\n```"
TEXT = f"<think>\n{THOUGHT}\n</think>\n\nA *mesh*.\n\n<think>\nOr not?\n</think>\n\nNo.\n"
FIGURES = (ThoughtFigures(312, 8.44), ThoughtFigures(1, 75.0))


def streamed(pieces: Sequence[str], display: ThoughtDisplay = "fold", *, ends: bool = True) -> ReplyDocument:
    text = ReplyDocument(1, Folding(display), is_streaming=True)
    text.figures = FIGURES
    for piece in pieces:
        text.feed(piece)
        text.update()
    if ends:
        text.finish()
    return text


def lines(text: ReplyDocument, width: int = 44) -> list[str]:
    return drawn_text(text, width)  # type: ignore[arg-type]  # it reads the chunks only


def test_thoughts_are_a_line_each() -> None:
    assert lines(streamed([TEXT])) == [
        "▸ thought for 8.4 s · 312 tokens",
        "",
        "A mesh.",
        "",
        "▸ thought for 1 min 15 s · 1 token",
        "",
        "No.",
    ]


JSON = '{\n  "name": "*Ada*",\n  "tags": [\n    "a",\n    "b"\n  ]\n}'
"""Markdown would join its lines and lose its indentation."""


@pytest.mark.parametrize(
    ("source", "literal", "shown"),
    [
        (JSON, None, JSON.split("\n")),
        (f"\n{JSON}\n", None, JSON.split("\n")),
        (JSON[:-6], None, JSON[:-6].split("\n")),
        (JSON, "json", JSON.split("\n")),
        ("[\n  1,\n  2\n]", None, ["[", "  1,", "  2", "]"]),
        ('{"a": 1}\nis *it*', None, ['{"a": 1}', "is it"]),
        ("[a](https://x.org) *b*", None, ["a ‹https://x.org› b"]),
        ("- *x*\n    y", "", ["- *x*", "    y"]),
        ("```\n~~~~\n```", "", ["```", "~~~~", "```"]),
        ("42", None, ["42"]),
        (f"- {'word ' * 10}", "", [f"- {'word ' * 8}".rstrip(), "word word"]),
    ],
    ids=[
        "whole",
        "with newlines",
        "cut off",
        "by a schema",
        "a list",
        "words after it",
        "a link",
        "regex",
        "fences",
        "a number",
        "long lines",
    ],
)
def test_json_and_what_a_constraint_made_are_shown_as_they_are(
    source: str, literal: str | None, shown: list[str]
) -> None:
    for size in (1, 7, len(source)):
        text = ReplyDocument(1, Folding("fold"), is_streaming=True, literal=literal)
        for at in range(0, len(source), size):
            text.feed(source[at : at + size])
            text.update()
        text.finish()
        assert [line.rstrip().removeprefix(" ") for line in lines(text)] == shown


def test_a_thought_counts_while_it_streams_and_shows_its_last_line() -> None:
    assert lines(streamed([TEXT[:30]], ends=False)) == [
        "▸ thinking · 312 tokens · 8.4 s",
        "  - **m",
    ]
    assert lines(streamed([TEXT[:30]])) == ["▸ thought for 8.4 s · 312 tokens · cut off"]
    tag = TEXT.index("</think>") + 4
    assert lines(streamed([TEXT[:tag]], ends=False))[1] == "  ```"


def test_the_last_line_of_a_thought_takes_one_line_at_any_width() -> None:
    row = LastLine("before\n" + "wide 漢字 text " * 40 + "the end")
    for width in (1, 2, 3, 10, 41, 200):
        (line,) = row.lines(width)
        cells = sum(span.content.cell_length for span in line)
        assert cells <= max(3, width)
        assert width < 10 or line[-1].content.plain.endswith("the end")


def test_open_thoughts_are_markdown_and_hidden_ones_disappear_at_their_end() -> None:
    assert lines(streamed([TEXT], "open")) == [
        "▾ thought for 8.4 s · 312 tokens",
        "What is a mesh?",
        "",
        " • many chips",
        "",
        " code · copy",
        " x = 1",
        "",
        "A mesh.",
        "",
        "▾ thought for 1 min 15 s · 1 token",
        "Or not?",
        "",
        "No.",
    ]
    assert lines(streamed([TEXT], "hide")) == ["A mesh.", "", "No."]
    assert lines(streamed([TEXT[:20]], "hide", ends=False))[0] == "▸ thinking · 312 tokens · 8.4 s"


ENDINGS = ("", TEXT, "Plain *text*.", "<think>\nnever ends", "Hm.\n</think>\n\nYes.", "`<think>` is a tag.\n")


@settings(max_examples=sized(80, 5_000), deadline=None)
@given(
    st.sampled_from(("fold", "open", "hide")),
    st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=3),
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
)
def test_what_streams_in_pieces_is_drawn_like_the_whole(
    display: ThoughtDisplay, texts: list[str], lengths: list[int]
) -> None:
    source = "".join(texts)
    assert lines(streamed(cut(source, lengths), display)) == lines(streamed([source], display))


WHOLE_TAGS = [piece for piece in re.split(r"(</?think>)", TEXT) if piece]


@pytest.mark.parametrize("pieces", [cut(TEXT + TEXT, [3]), WHOLE_TAGS], ids=["cut", "whole tags"])
@pytest.mark.parametrize("display", ["fold", "open", "hide"])
def test_an_update_names_the_first_chunk_that_changed(display: ThoughtDisplay, pieces: list[str]) -> None:
    """What a widget shows that follows the updates is what a fresh one shows."""
    text, shown = ReplyDocument(1, Folding(display), is_streaming=True), list[list[str]]()
    for piece in [*pieces, ""]:
        text.feed(piece)
        first = text.update() if piece else text.finish()
        rows = [[line for row in chunk.rows for line in _lines_of(row)] for chunk in text.chunks]
        shown[first:] = rows[first:]
        header = text.header_row
        if header is not None and header < first:
            shown[header] = rows[header]
        assert shown == rows


def _lines_of(row: object) -> list[str]:
    lines = row.lines(40)  # type: ignore[attr-defined]
    return ["".join(span.content.plain for span in line) for line in lines]


def test_a_growing_thought_draws_a_constant_number_of_chunks_again() -> None:
    text = streamed(["<think>\n"], "open", ends=False)
    firsts: list[int] = []
    for _ in range(300):
        text.feed("a line of thought that goes on\n\n")
        firsts.append(text.update())
        assert text.header_row == 0
    assert len(text.chunks) - firsts[-1] <= 2


def test_code_is_copied_from_the_part_it_is_drawn_in() -> None:
    code = "```\n{}\n```\n"
    source = "".join(
        f"<think>\n{code.format(thought)}</think>\n\n{code.format(answer)}\n"
        for thought, answer in (("t1", "a1"), ("t2", "a2"))
    )
    folding = Folding("fold")
    folding.choose(1, 1, True)  # the first one stays folded
    text = ReplyDocument(1, folding)
    text.feed(source)
    text.finish()
    rows = [row for chunk in text.chunks for row in chunk.rows]
    headers = [row.code_index for row in rows if isinstance(row, CodeHeader)]
    assert [code_at(source, number) for number in headers] == ["a1", "t2", "a2"]
    assert [code_at(source, number) for number in (2, 2_000_001, 3_000_000)] == [None] * 3


def test_words_of_the_app_are_neither_found_nor_copied() -> None:
    header = ThoughtHeader(0, "thought for 8.4 s", is_open=False)
    assert (header.plain, header.source) == ("", None)
    assert (LastLine("Hm.").plain, LastLine("Hm.").source) == ("", None)
