"""All text of a model is on screen, and tables break no word that fits on a line."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.screen import drawn, drawn_text, whole
from ttchat_tui.ui.markdown.wrap import wrap_offsets

REAL_TEXT = sorted((Path(__file__).parents[2] / "data" / "real_text").glob("*.txt"))
REPLY = Path(__file__).parent / "data" / "reply.md"

WIDTHS = [48, 60, 80]


def words(source: str) -> list[str]:
    """Runs of letters and digits, entities decoded. Not the numbers of list items: those are counted again."""
    source = re.sub(r"(?m)^[ >\-*+]*\d{1,9}[.)](?= |$)", " ", source)
    source = re.sub(r"(?m)^[ >]*[-*+] +\[[xX]\]", " ", source)
    source = re.sub(r"<br\s*/?>", " ", source)
    return re.findall(r"[^\W_]+", unescape(source))


def assert_every_word_is_drawn(source: str, width: int) -> None:
    shown = "".join("".join(line).replace(" ", "") for line in drawn_text(whole(source), width))
    # Quote bars, table borders and marks of continued code separate the parts of a word that is too long for a line.
    shown = re.sub(r"[▎│─┼↳\s]", "", shown)
    rest = [word for word in words(source) if word not in shown]
    assert not rest


CELLS = [
    *("plain", "`a|b`", "`code` x", "**bold** word", "first<br>second", "$|x|$", "<b>html</b>", "", "\\|"),
    *("[link](/to 'Titled')", "![alt](/src)", "Donaudampfschifffahrt", "averyverylongword" * 3, "&amp; more"),
]
ROW = st.lists(st.sampled_from(CELLS), max_size=8).map(lambda cells: "| " + " | ".join(cells) + " |")


@st.composite
def tables(draw: st.DrawFn) -> str:
    columns = draw(st.integers(1, 7))
    header = [f"Header{index}" for index in range(columns)]
    rows = draw(st.lists(ROW, max_size=4))
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * columns, *rows, "", ""])


BLOCKS = [
    *("A line with *em*, **strong**, ~~gone~~, `code` and [a link](https://a.b/c 'The title').\n\n",),
    *("### Heading `three` ###\n\n", "Setext *two*\n---\n\n", "> quoted\n> > inner\nlazy\n\n", "***\n\n"),
    *(
        "```python title=x\ndef f(): ...\n```\n\n",
        "    indented code\n\n",
        "~~~\nunclosed\n",
        "- one\n- [x] done\n  1. deep\n\n",
    ),
    *("<div class='y'>html</div>\n\n", "<!-- a comment -->\n\n", "text <!-- inline --> <kbd>k</kbd>\n\n"),
    *("[ref]: /address 'Ref title'\n[two]: <b c>\n\n", "[ref] and [words][two] and [undefined][no]\n\n"),
    *(
        "A note[^1].\n\n[^1]: The note itself.\n\n",
        "[^2]: single\n\n",
        "![picture *of* it](/p.png 'Seen')\n\n",
    ),
    *("&copy; &#8364; AT&T &nosuch; \\*stars\\*\n\n", "line one  \nline two\\\nline three<br>four\n\n"),
    *(
        "$$\n- a_b\n+ c\n$$\n\n",
        "\\(x*y*z\\) costs $5 and $6\n\n",
        "**「強調」**です\n\n",
        "<https://auto.link/x> me@b.c\n\n",
    ),
    *(
        "[![badge](/b.svg)](/target)\n\n",
        "[](/empty)\n\n",
        "<details>\n<summary>more</summary>\n\nhidden\n</details>\n\n",
    ),
    *(
        "Term\n: Definition\n\n",
        "- " * 14 + "deep\n\n",
        "[a\nb](/over 'two\nlines')\n\n",
        "`code\nover lines`\n\n",
    ),
]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", [*REAL_TEXT, REPLY], ids=lambda path: path.stem)
def test_every_word_of_real_text_is_drawn(path: Path, width: int) -> None:
    assert_every_word_is_drawn(path.read_text(encoding="utf-8"), width)


@settings(max_examples=sized(66, 2000), deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(BLOCKS), tables()), min_size=1, max_size=6), st.sampled_from(WIDTHS)
)
def test_every_word_of_any_markdown_is_drawn(parts: list[str], width: int) -> None:
    assert_every_word_is_drawn("".join(parts), width)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_word_of_each_construct_is_drawn(block: str) -> None:
    assert_every_word_is_drawn(block, 48)


def table(*rows: str) -> list[str]:
    return drawn_text(whole("| h | k |\n|---|---|\n" + "\n".join(rows)), 60)[2:]


def test_a_pipe_in_a_code_span_or_a_formula_ends_no_cell() -> None:
    assert table("| `a|b` | c |") == ["`a|b`"[1:-1] + " │ c"]
    assert table("| $|x|$ | c |") == ["$|x|$ │ c"]
    assert table("| ``a`|b`` | c |") == ["a`|b │ c"]
    assert drawn_text(whole("| `x|y` | k |\n|---|---|\n| 1 | 2 |"), 60)[0] == "x|y │ k"


@pytest.mark.parametrize(
    "formula",
    [
        "$P(A|B)$",
        r"\(a|b\)",
        r"\[x|y\]",
        r"$$\{x | x>0\}$$",
        r"$\|x\|$ or $|x|$",
        r"\begin{cases}a|b\end{cases}",
    ],
)
def test_a_formula_in_a_cell_is_shown_as_source(formula: str) -> None:
    assert table(f"| {formula} | c |") == [f"{formula} │ c"]
    assert table(f"| c | {formula} |") == [f"c │ {formula}"]


def test_money_and_variables_in_cells_end_them() -> None:
    assert table("|$5|$6|") == ["$5 │ $6"]
    assert table("|$HOME|$PATH|") == ["$HOME │ $PATH"]


def test_a_pipe_after_a_lone_backtick_ends_a_cell() -> None:
    assert table("| a` | b |") == ["a` │ b"]


def test_surplus_cells_are_shown_in_the_last_column() -> None:
    assert table("| 1 | 2 | 3 | 4 |") == ["1 │ 2 | 3 | 4"]


def test_a_break_in_a_cell_breaks_its_line() -> None:
    assert table("| a<br>b | c<BR/>d<br />e |") == ["a │ c", "b │ d", "  │ e"]


SIX = (
    "| Model | Parameters | Context | Quantization | Throughput | Licence |\n|---|--:|--:|---|--:|---|\n"
    "| SmolLM2-135M-Instruct | 135 million | 8,192 | bfloat16 | 41.5 tokens | Apache-2.0 |\n"
    "| Qwen2.5-0.5B | 494 million | 32,768 | int8 |  | Apache-2.0 |\n"
)


def test_a_table_that_would_break_words_shows_each_row_as_a_record() -> None:
    shown = drawn_text(whole(SIX), 60)
    assert shown == [
        "─" * 60,
        "Model: SmolLM2-135M-Instruct",
        "Parameters: 135 million",
        "Context: 8,192",
        "Quantization: bfloat16",
        "Throughput: 41.5 tokens",
        "Licence: Apache-2.0",
        "─" * 60,
        "Model: Qwen2.5-0.5B",
        "Parameters: 494 million",
        "Context: 32,768",
        "Quantization: int8",
        "Throughput:",
        "Licence: Apache-2.0",
        "─" * 60,
    ]
    assert "│" in drawn_text(whole(SIX), 120)[0]


@pytest.mark.parametrize("depth", [12, 14, 20, 30])
def test_a_list_shows_its_text_however_deep_it_is(depth: int) -> None:
    source = "\n".join("  " * level + f"- level{level} of it" for level in range(depth))
    assert_every_word_is_drawn(source, 48)
    assert all(line.strip() for line in drawn_text(whole(source), 48))


def test_each_heading_level_has_looks_of_its_own() -> None:
    styles = [drawn(whole("#" * level + " x"), 40)[0][0][1] for level in range(1, 7)]
    assert len(set(styles)) == 6


def test_deleted_lines_of_a_diff_have_their_own_colour() -> None:
    shown = drawn(whole("```diff\n-old\n+new\n```"), 40)
    assert ("-old", (".md-block", ".md-deleted")) in shown[1]
    assert ("+new", (".md-block", ".md-string")) in shown[2]


@pytest.mark.parametrize("mark", ["\ufe0f", "\u200d", "\u0301"])
def test_a_line_may_begin_with_a_mark_for_the_character_before_it(mark: str) -> None:
    """rich before 14.3.3 hangs on the first."""
    assert wrap_offsets(f"{mark}{'é' * 9}", 4, by_word=False) == [0, 5, 9]
