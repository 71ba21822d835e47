"""Thoughts in a reply that grows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.domain.test_thoughts import DIALECTS
from tests.size import sized
from ttchat_tui.domain.thought_stream import AnswerFilter, ThoughtStream
from ttchat_tui.domain.thoughts import extract_answer, split_thoughts

SHAPES = (
    "{open}\nHm.\n\n1. a `{close}` is named\n{close}\n\nYes.",
    "Hm.\n{close}\n\nYes.",
    "{open}A{close}One.\n\n{open}\nB{close}\nTwo.",
    "{open}\nHm, {open} twice",
    "```\n{open}\nno\n{close}\n```\nYes.",
    "{open}\n```\nan open fence\n{close}\n\n```python\nx\n```",
    "Yes.",
)


@st.composite
def texts_in_pieces(draw: st.DrawFn) -> list[str]:
    opening, closing = DIALECTS[draw(st.sampled_from(sorted(DIALECTS)))]
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=2))
    text = "\n".join(shapes).replace("{open}", opening).replace("{close}", closing)
    lengths, at, pieces = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5)), 0, list[str]()
    while at < len(text):
        pieces.append(text[at : at + lengths[at % len(lengths)]])
        at += len(pieces[-1])
    return pieces


@settings(max_examples=sized(60, 5_000), deadline=None)
@given(texts_in_pieces())
def test_a_text_in_pieces_has_the_parts_of_the_whole(pieces: list[str]) -> None:
    text, stream = "".join(pieces), ThoughtStream()
    for count, piece in enumerate(pieces, start=1):
        stream.feed(piece)
        assert stream.text == "".join(pieces[:count])
    assert stream.parts == split_thoughts(text, is_growing=True)
    stream.finish()
    assert stream.parts == split_thoughts(text)


@settings(max_examples=sized(60, 5_000), deadline=None)
@given(texts_in_pieces())
def test_the_answer_of_a_reply_in_pieces_is_that_of_the_whole(pieces: list[str]) -> None:
    text, stream = "".join(pieces), AnswerFilter()
    given_text = "".join(map(stream.feed, pieces))
    words, whole = (given_text + stream.finish()).split(), extract_answer(text).split()
    if stream.has_given_thought:  # what was printed stays
        words = words[-len(whole) :] if whole else []
    assert words == whole


def test_no_piece_of_a_tag_and_no_thought_is_given() -> None:
    stream, given_text = AnswerFilter(), ""
    for character in "<think>\nA\n</think>\n\nOne <b>two</b>.":
        given_text += stream.feed(character)
        assert "One <b>two</b>.".startswith(given_text)
    assert given_text + stream.finish() == "One <b>two</b>."
    assert not stream.has_given_thought


def test_a_later_thought_is_one_from_its_opening_tag_on() -> None:
    stream = ThoughtStream("<think>\nA\n</think>\n\nOne.\n\n<think>\nB")
    assert [(part.is_thought, part.text.strip()) for part in stream.parts] == [
        (True, "A"),
        (False, "One."),
        (True, "B"),
    ]
    stream.finish()  # it has no closing tag: the reply is about the tag
    assert [part.is_thought for part in stream.parts] == [True, False]


@pytest.mark.parametrize("tags", ["", "</think>\n\n"])
def test_text_far_from_a_tag_is_not_split_again(tags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ThoughtStream(f"<think>\nHm.\n{tags}" + "word " * 40)
    monkeypatch.setattr("ttchat_tui.domain.thought_stream.split_thoughts", None)
    before = stream.parts[-1].text
    stream.feed("more [words] <b>")
    assert stream.parts[-1].text == before + "more [words] <b>"
