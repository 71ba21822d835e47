"""The end of a thought that nothing opened is found while it streams, however the text is cut; a tag that is spoken of
ends none, and nothing is lost."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.thoughts import OPENING, normalised
from ttchat_tui.engine.served.unopened_thought import UnopenedThought

ENDED = (
    "Hm.\n</think>\n\nYes.",
    "Hm.</think>\n\nYes.",
    "Hm.\n</think>Yes.",
    "Hm\n[/THINK]\nYes.",
    "\n</thinking>\n\nYes",
    *(
        f"Hm.\n{tag}\n\nYes."
        for tag in ("</seed:think>", "</thought>", "</reasoning>", "◁/think▷", "<channel|>")
    ),
    "Hm.<|END_THINKING|>   <|START_RESPONSE|>Yes.",
    "Hm.<|END_THINKING|>Yes.",
    "Hm.<|end_of_thought|>\n<|begin_of_solution|>Yes.",
    "Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
)
SPOKEN_OF = (
    "It is `</think>` there.",
    "A </think> is a tag.",
    "```\n</think>\n```\nSo.",
    "<think>Hm.</think>\n\nYes.",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
    "analysisHm.assistantfinalYes.",
)
tags = st.sampled_from(
    ["</think>", "</thinking>", "[/THINK]", "<think>", "`", "```\n", "\n", "\n\n", " ", "<", "[/TH", "</"]
)


def streamed(pieces: list[str]) -> tuple[str, bool]:
    """The whole output, and whether a thought ended in it."""
    unopened, text, has_ended = UnopenedThought(), "", False
    for piece in pieces:
        thought, said = unopened.filter(piece)
        text, has_ended = text + thought + said, has_ended or bool(thought)
    thought, said = unopened.end()
    return text + thought + said, has_ended or bool(thought)


def bare(text: str) -> str:
    """`text` without white space, with one form for all closing tags."""
    return re.sub(r"</think(?:ing)?>|\[/THINK\]", "</think>", "".join(text.split()), flags=re.IGNORECASE)


@pytest.mark.parametrize("text", ENDED)
@given(cuts=st.lists(st.integers(0, 60)))
def test_a_thought_that_the_template_opened_ends_wherever_the_text_is_cut(text: str, cuts: list[int]) -> None:
    at = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    said, has_ended = streamed([text[low:high] for low, high in pairwise(at)])
    assert has_ended
    assert normalised(OPENING + said) == normalised(text)


@pytest.mark.parametrize("text", SPOKEN_OF)
def test_a_mentioned_tag_ends_no_thought(text: str) -> None:
    assert streamed(list(text)) == streamed([text]) == (text, False)


@given(st.lists(st.one_of(tags, st.text(max_size=5)), max_size=30))
def test_nothing_that_was_said_is_lost(pieces: list[str]) -> None:
    said, has_ended = streamed(pieces)
    assert has_ended or said == "".join(pieces)
    assert bare(said) == bare("".join(pieces))


def test_only_what_may_become_a_tag_is_held_back() -> None:
    unopened = UnopenedThought()
    said = [unopened.filter(piece)[1] for piece in ("a < b", " and", " </", "thx", " </thin", "k")]
    assert "".join(said) == "a < b and </thx "
    assert unopened.end() == ("", "</think")


def test_a_reply_with_a_tag_in_every_line_is_read_in_bounded_time() -> None:
    unopened = UnopenedThought()
    for _ in range(100):
        unopened.filter("the tag </think> is a tag\n")
    assert unopened.is_decided
