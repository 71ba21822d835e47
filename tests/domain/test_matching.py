"""Text is found as a reader means it, and hits are where they are drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.matching import Matcher, folded, words


@pytest.mark.parametrize(
    ("needle", "text", "hit"),
    [
        ("strasse", "die Straße hier", "Straße"),
        ("zurich", "in Zürich", "Zürich"),
        ("ZÜRICH", "in Zu\u0308rich", "Zu\u0308rich"),
        ("wide", "Ｗｉｄｅ", "Ｗｉｄｅ"),
        ("don't", "I don’t", "don’t"),
        ("日本", "これは日本語です", "日本"),
        ("서울", "서울에서", "서울"),
        ("name", "getUserName()", "Name"),
        ("a  b", "a\n\tb", "a\n\tb"),
        ("c++", "C++ and C", "C++"),
        ("🎉", "done 🎉!", "🎉"),
        ("i", "İ", "İ"),
        ("fi", "ﬁne", "ﬁ"),
    ],
)
def test_what_a_reader_means_is_found_where_it_is(needle: str, text: str, hit: str) -> None:
    matcher = Matcher([needle])
    assert [text[start:end] for start, end in matcher.spans(text)] == [hit]
    assert matcher.has_all(text)
    assert matcher.counts(text) == [1]


def test_the_longest_needle_marks_where_several_begin() -> None:
    assert Matcher(["mesh", "mesh device"]).spans("a mesh device") == [(2, 13)]


def test_a_matcher_of_nothing_finds_nothing() -> None:
    matcher = Matcher(["", " \n"])
    assert not matcher
    assert matcher.spans("text") == []
    assert not matcher.is_in("text")


@pytest.mark.parametrize("source", ["a **mesh** device", "a `mesh` device", "~~mesh~~ device"])
def test_markers_do_not_part_the_words_of_a_phrase(source: str) -> None:
    assert Matcher(["mesh device"]).is_in(source)


@given(st.text())
def test_each_word_of_a_text_is_found_in_it(text: str) -> None:
    for word in words(folded(text)):
        spans = Matcher([word]).spans(text)
        assert spans
        assert all(0 <= start < end <= len(text) for start, end in spans)
        assert all(word in folded(text[start:end]) for start, end in spans)


@given(st.lists(st.text(max_size=5), max_size=4), st.text())
def test_hits_are_in_order_and_do_not_overlap(needles: list[str], text: str) -> None:
    spans = Matcher(needles).spans(text)
    ends = [0, *(end for _, end in spans)]
    assert all(start < end for start, end in spans)
    assert all(start >= end or (start, end) for (start, _), end in zip(spans, ends, strict=False))


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert folded(folded(text)) == folded(text)
