"""Every token of any text has cells of its own, in order, in rows of any width."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.size import sized
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.widgets.inspector.layout import LEAST_WIDTH, TokenLayout

PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"", b" ", b"\n", b"\n\n", b"\t", b"    ", b"\xe2\x80", b"\x1b[31m", b"\r", b"longest"]
        ),
        st.sampled_from(
            [" the", "un", "believ", "日本", "語", "👍🏽", "🇩🇪", "कि", "ि", "e\u0301", "\u200d"]
        ).map(str.encode),
        st.text(max_size=9).map(lambda text: text.encode("utf-8", "replace")),
        st.binary(max_size=4),
        st.sampled_from([b"\xf0\x9f", b"\x98", b"\x80", b"\xe3\x81"]),
    ),
    max_size=40,
)


def laid_out(width: int, pieces: list[bytes]) -> TokenLayout:
    layout = TokenLayout(width)
    layout.extend(pieces)
    return layout


def lines(layout: TokenLayout) -> list[str]:
    return ["".join(span.text for span in layout.row(row)) for row in range(layout.rows)]


@settings(max_examples=sized(30, 3000), deadline=None)
@given(PIECES, st.integers(1, 30), st.integers(0, 40))
def test_tokens_and_cells_belong_together(pieces: list[bytes], width: int, cut: int) -> None:
    layout = laid_out(width, pieces)
    seen: list[int] = []
    for row in range(layout.rows):
        column = 0
        for span in layout.row(row):
            assert span.column == column
            assert cell_len(span.text) >= 1, "every span can be seen"
            assert visible(span.text) == span.text
            assert layout.token_at(row, column) == span.token
            assert row in layout.rows_of(span.token)
            if span.token not in seen:
                assert layout.place_of(span.token) == (row, column)
            seen.append(span.token)
            column += cell_len(span.text)
        assert column <= max(width, LEAST_WIDTH) + 1, "one space or ⏎ may hang over"
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(pieces))), "every token has a cell"

    grown = laid_out(width, pieces[:cut])
    grown.extend(pieces[cut:])
    assert lines(grown) == lines(layout), "a text that grows ends up as one that is there at once"


def test_rows_break_between_words_and_at_newlines() -> None:
    words = [b"The", b" un", b"believ", b"able", b" clock", b"\n", b"ticks", b"."]
    assert lines(laid_out(12, words)) == ["The ", "unbelievable ", "clock⏎", "ticks."]


def test_a_word_longer_than_a_row_is_broken_and_wide_characters_are_not() -> None:
    assert lines(laid_out(5, [b"abcdefgh", b"ij"])) == ["abcde", "fghij"]
    assert lines(laid_out(5, ["日本語".encode(), b"."])) == ["日本", "語."]


def test_what_is_no_character_is_shown_as_bytes() -> None:
    assert lines(laid_out(20, [b"\x94", b"\x1b", "ि".encode(), b"\xff"])) == ["⟨94⟩␛◌ि⟨FF⟩"]


def test_a_character_of_several_tokens_is_shown_with_the_last_one() -> None:
    layout = laid_out(20, [b"a", b"\xf0\x9f", b"\x98", b"\x80", b"\xe2", b"b"])
    assert [(span.token, span.text) for span in layout.row(0)] == [
        (0, "a"),
        (1, "⟨"),
        (2, "⟨"),
        (3, "😀"),
        (4, "⟨"),
        (5, "b"),
    ]
