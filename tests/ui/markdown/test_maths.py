r"""Formulas are shown as they were written: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, environments; money is text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.screen import cut, drawn, drawn_text, streamed, whole

FORMULAS = [
    "$a*b*c$",
    r"$\{x_1\} \, _y_$",
    "$$a*b*c$$",
    "$$\n+ a*b*c\n- \\,d\\\\\n\\}\n$$",
    "$$\n\n= y\n# x\n---\n\n| a |\n|---|\n$$",
    "\\[\n- x \\\\\n+ y \\quad _z_\n1. w\n\\]",
    r"\(a*b*c \, \{d\}\)",
    "$x**2 + y**2$",
    "\\(\n> a\n\\)",
    r"\[ \begin{pmatrix} a \\[2pt] b \end{pmatrix} \]",
    "\\begin{align*}\n- a &= *b* \\\\\n+ c &= `d`\n\\end{align*}",
    "$x\n+ y$",
]


def maths(source: str) -> list[str]:
    """The formulas as drawn, line by line."""
    return [text for line in drawn(whole(source), 200) for text, styles in line if ".md-math" in styles]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("before", ["", "so ", "text\n", "> ", "- ", "1. ", "> - ", "# h\n\n"])
def test_a_formula_is_shown_as_source_in_every_block(formula: str, before: str) -> None:
    if before.startswith("#") or before == "text\n" or not before.strip():
        source = before + formula
    else:
        rest = {"> ": "> ", "- ": "  ", "1. ": "   ", "> - ": ">   ", "so ": ""}[before]
        source = before + formula.replace("\n", "\n" + rest)
    if before == "so " and "\n\n" in formula:
        return  # a blank line is in a formula only if its opener is alone on its line
    assert maths(source + " and *on*.") == [line for line in formula.split("\n") if line]
    assert drawn_text(whole(source + " and *on*."), 200)[-1].endswith(" and on.")


@pytest.mark.parametrize(
    "money",
    [
        "$5 and $6",
        "US$ 5 or US$ 6",
        "$5-$10",
        "$HOME and $PATH",
        "between $1,000 and $2,000",
        "**$5** and **$6**",
        "echo $$ is the PID",
        r"\$5 to 6\$",
        "`$a$` and `$$`",
        "a $ b $ c",
        "$5",
        "$ x$",
    ],
)
def test_money_and_variables_are_text(money: str) -> None:
    assert maths(f"It is {money}, *so*.") == []
    assert drawn_text(whole(f"It is {money}:\n- one\n- two"), 90)[-2:] == [" • one", " • two"]


def test_a_formula_behind_money_is_found_and_the_money_is_text() -> None:
    assert maths("It is $5 and $6, and $a*b*c$ or $x_1$, say $7.") == ["$a*b*c$", "$x_1$"]


@pytest.mark.parametrize("opener", [r"\[x] y", r"\(x) y", "costs $5", "PID $$ here", "`\\[`", r"\\["])
def test_what_opens_no_formula_lets_a_list_follow(opener: str) -> None:
    assert drawn_text(whole(f"{opener}\n- one"), 60)[-1] == " • one"


def test_a_formula_that_never_ends_goes_no_further_than_its_paragraph_or_the_next_heading() -> None:
    assert drawn_text(whole("$$ x\n+ y\n\n- one"), 60) == ["$$ x", "+ y", "", " • one"]
    assert drawn_text(whole("$$\nx\n\n## Next\n\n- one"), 60)[-3:] == ["Next", "", " • one"]
    assert drawn_text(whole("- $$\n  x\n- two"), 60) == [" • $$", "   x", " • two"]


def test_a_formula_keeps_its_indentation() -> None:
    assert drawn_text(whole("- \\[\n  a\n    + b\n  \\]"), 60) == [" • \\[", "   a", "     + b", "   \\]"]


PARTS = st.sampled_from(
    [*FORMULAS, "$$", "\\[", "\\(", "$", "- x\n", "\n\n", "\n", "text ", "$5 ", "*em* ", "```\n"]
)


@settings(max_examples=sized(50, 1500), deadline=None)
@given(st.lists(PARTS, max_size=7), st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_a_formula_shows_alike_however_it_is_split(parts: list[str], lengths: list[int]) -> None:
    source = "".join(parts)
    assert drawn(streamed(cut(source, lengths)), 40) == drawn(whole(source), 40)


def test_many_dollars_cost_no_more_than_their_length() -> None:
    assert len(drawn_text(whole("$a " * 20_000), 60)) > 900
    assert len(drawn_text(whole("\\(a $$b " * 10_000), 60)) > 900
