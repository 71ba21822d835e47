"""A line of code that is wrapped has a mark where it goes on, which is no part of the text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from tests.ui.markdown.screen import cut, drawn_text, streamed, whole
from tests.ui.markdown.test_copy import bare, copied, part

WIDE = "print(" + ", ".join(f'"word{number}"' for number in range(30)) + ")"
LINES = ["x = 1", "", "    indented = True", WIDE, "漢字" * 40, "❤️1️⃣" * 30, "base64" * 400]


def code_in(rows: list[str]) -> list[str]:
    """The code again, without blanks, which are dropped at the end of a drawn row. A row with the mark goes on from the one
    above, and the first column is the margin."""
    lines: list[str] = []
    for row in rows:
        if row.startswith("↳"):
            lines[-1] += row[1:]
        else:
            lines.append(row[1:])
    return [line.replace(" ", "") for line in lines]


def test_a_wrapped_line_has_a_mark_in_the_margin_of_each_row_that_goes_on() -> None:
    rows = drawn_text(whole(f"```py\nshort\n{WIDE}\nend\n```"), 60)
    assert [row[:1] for row in rows] == [" ", " ", " ", *["↳"] * (len(rows) - 4), " "]
    assert len(rows) > 6


def test_prose_and_words_longer_than_a_line_have_none() -> None:
    assert "↳" not in "".join(drawn_text(whole("word " * 90 + "\n\n" + "x" * 300), 60))


def test_the_mark_is_neither_selected_nor_copied() -> None:
    source = f"```py\n{WIDE}\n```"
    assert copied(whole(source)) == source
    assert part(source, (1, 0), (1, len(WIDE))) == WIDE
    row = whole(source).chunks[0].rows[1]
    for line in row.lines(40)[1:]:
        assert [span.x for span in line if "↳" in span.content.plain] == [None]


@settings(max_examples=sized(40, 1_500))
@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=6),
    st.integers(24, 90),
    st.lists(st.integers(1, 400), min_size=1, max_size=4),
    st.sampled_from(["", "- ", "> "]),
)
def test_the_rows_joined_at_the_marks_are_the_code(
    lines: list[str], width: int, lengths: list[int], prefix: str
) -> None:
    inner = prefix.replace("-", " ")
    source = "\n".join([f"{prefix}```", *(f"{inner}{line}" for line in lines), f"{inner}```"])
    document = streamed(cut(source, lengths))
    rows = drawn_text(document, width)
    assert rows == drawn_text(whole(source), width)
    assert bare(copied(document)) == bare(copied(whole(source))) == bare(source)
    margin = rows[0].index("code") - 1
    assert code_in([row[margin:] for row in rows[1:]]) == [line.replace(" ", "") for line in lines]
