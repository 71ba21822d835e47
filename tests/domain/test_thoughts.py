"""Thinking blocks in every dialect, and tags that are only mentioned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.thoughts import (
    CLOSING,
    OPENING,
    extract_answer,
    normalised,
    opens_thought,
    thought_tag,
)

BLOCK = "<think>\nHm.\n</think>\n\nYes."


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        "<think>Hm.</think>Yes.",
        "<think>\nHm.\n</think>\nYes.",
        "<think>\nHm.\n</think>Yes.",
        "\n\n<think>\nHm.\n</think>\n\n\n\nYes.",
        "<think>\n<think>\nHm.\n</think>\n\nYes.",
        "<thinking>\nHm.\n</thinking>\n\nYes.",
        "<THINK>Hm.</THINK>\n\nYes.",
        "[THINK]Hm.[/THINK]Yes.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
        "Hm.\n</think>\n\nYes.",
        "\nHm.\n</think>\n\nYes.",
        "Hm.</think>\n\nYes.",
        "Hm.\n</think>\nYes.",
        "Hm.\n</think>Yes.",
        "Hm.\n[/THINK]\n\nYes.",
        "Hm.\n</thinking>\n\nYes.",
    ],
)
def test_a_thought_before_an_answer_has_one_form_and_is_not_part_of_the_answer(text: str) -> None:
    assert normalised(text) == normalised(BLOCK) == BLOCK
    assert extract_answer(text) == "Yes."


DIALECTS = {
    "deepseek": ("<think>", "</think>"),
    "thinking": ("<thinking>", "</thinking>"),
    "seed": ("<seed:think>", "</seed:think>"),
    "exaone": ("<thought>", "</thought>"),
    "reasoning": ("<reasoning>", "</reasoning>"),
    "magistral": ("[THINK]", "[/THINK]"),
    "kimi": ("◁think▷", "◁/think▷"),
    "command a": ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    "openthinker": ("<|begin_of_thought|>", "<|end_of_thought|>\n\n<|begin_of_solution|>"),
    "apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
    "hunyuan 3": ("<think:opensource>", "</think:opensource>"),
    "gemma 4": ("<|channel>thought", "<channel|>"),
    "gpt-oss": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
}
FINAL = "<|start|>assistant<|channel|>final<|message|>Yes."
in_every_dialect = pytest.mark.parametrize(("opening", "closing"), DIALECTS.values(), ids=DIALECTS.keys())


@in_every_dialect
@pytest.mark.parametrize("space", ["", "\n", "\n\n"])
def test_every_dialect_is_understood(opening: str, closing: str, space: str) -> None:
    before = {BLOCK, f"{space}{opening}{space}Hm.{space}{closing}{space}Yes."}
    assert {normalised(text) for text in before} == {BLOCK}
    assert {extract_answer(text) for text in before} == {"Yes."}
    assert extract_answer(f"{opening}{space}Hm.") == ""
    assert (
        extract_answer(f"{opening}{space}A{space}{closing}\nOne.\n{opening}B{closing}Two.") == "One.\n\nTwo."
    )


@in_every_dialect
def test_the_template_may_open_a_thought_of_every_dialect(opening: str, closing: str) -> None:
    assert opens_thought(f"<|assistant|>{opening}\n")
    assert not opens_thought(f"<|assistant|>{opening}\n{closing}")
    # As it arrives: the block that was said with the first token, its end in the model's own words.
    assert normalised(f"<think>\nHm.\n{closing}\n\nYes.") == BLOCK
    assert extract_answer(f"Hm.\n{closing}\n\nYes.") == "Yes."


@in_every_dialect
def test_a_tag_of_another_dialect_is_text(opening: str, closing: str) -> None:
    others = [tag for tag in DIALECTS.values() if tag != (opening, closing) and "think" not in tag[0]]
    for other_opening, other_closing in others:
        text = f"{opening}Hm.{closing}Yes:\n{other_opening}\nno\n{other_closing}\nindeed."
        assert extract_answer(text) == f"Yes:\n{other_opening}\nno\n{other_closing}\nindeed."


@pytest.mark.parametrize(
    "text",
    [
        "<|channel|>analysis<|message|>A<|end|><|start|>assistant<|channel|>analysis<|message|>B<|end|>"
        + FINAL,
        FINAL,
        FINAL.removeprefix("<|start|>assistant"),
        "analysisThe user asks.assistantfinalYes.",
    ],
)
def test_the_answer_of_gpt_oss_is_its_final_channel(text: str) -> None:
    assert extract_answer(text) == "Yes."
    assert "<|" not in normalised(text)


@pytest.mark.parametrize("text", ["<think>\nHm.", "<think>", "<thinking>\nHm, so\n\nand so.\n", "[THINK]Hm."])
def test_an_unclosed_thought_is_not_an_answer(text: str) -> None:
    assert extract_answer(text) == ""
    assert normalised(text).startswith("<think>\n")
    assert "</think>" not in normalised(text)


@pytest.mark.parametrize(
    "text",
    [
        "Plain.",
        "",
        "The tag `</think>` ends it.",
        "A thought ends with </think> in most models.",
        "It ends with </think>, always.",
        'The text "</think>" is a tag.',
        "```\n<think>\nHm.\n</think>\nYes.\n```\nThat is the format.",
        "Look:\n\n```xml\nHm.\n</think>\n```\n\nSo it is.",
        "~~~\nHm.\n\n</think>\n\n~~~\n",
        "    </think>\n\nis indented code.",
        "</think> is the closing tag.",
        "Use `<think>` and `</think>`.\n\nThe first opens.",
        "1 < 2 and [THINK] is a tag.",
        "Yes.<|end|>",
        "Analysis of the final channel.",
        "analysis is what it is called; assistant is another role.",
        "<answer>\n<reasoning>\nno\n</reasoning>\n</answer>",
    ],
)
def test_a_mentioned_tag_is_text(text: str) -> None:
    assert normalised(text) == text
    assert extract_answer(text) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nIt says `</think>` there.\n</think>\n\nYes.", "Yes."),
        ("<think>\nThe </think> tag ends it.\n</think>\n\nYes.", "Yes."),
        ("<think>\n```\n</think>\n```\nHm.\n</think>\n\nYes.", "Yes."),
        ("<think>\n```\nhalf a fence\n</think>\n\nYes:\n```\ncode\n```", "Yes:\n```\ncode\n```"),
        (
            "Hm.\n</think>\n\nWrite `</think>`.\n\n```\n</think>\n```",
            "Write `</think>`.\n\n```\n</think>\n```",
        ),
        ("<think>\nA\n</think>\n\nOne.\n\n<think>\nB\n</think>\nTwo.", "One.\n\nTwo."),
        ("<think>\nA\n</think>\n<think>\nB\n</think>\nTwo.", "Two."),
        (
            "<think>\nA\n</think>\n\nOne.\n\n```\n<think>\nB\n</think>\n```",
            "One.\n\n```\n<think>\nB\n</think>\n```",
        ),
        ("<think>\n\n</think>\n\nYes.", "Yes."),
        ("Let me see.\n<think>\nHm.\n</think>\nYes.", "Let me see.\n\nYes."),
        ("So: `<think>`.\n</think>\n\nYes.", "Yes."),
    ],
)
def test_the_answer_is_everything_outside_thoughts(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


def test_a_blank_line_follows_a_second_thought() -> None:
    text = "<think>\nA\n</think>\n\nOne.\n<think>\nB\n</think>\nTwo."
    apart = "<think>\nA\n</think>\n\nOne.\n\n<think>\nB\n</think>\n\nTwo."
    assert normalised(text) == normalised(apart) == apart


WORDS = st.lists(
    st.sampled_from(
        ["a", "é", " ", "\n", "\n\n", "`", "```\n", "<think>", "</think>", "[THINK]", "[/THINK]", "- b"]
    ),
    max_size=14,
).map("".join)


@given(WORDS)
def test_no_letter_is_lost_wherever_tags_stand(text: str) -> None:
    once = normalised(text)
    assert [once.count(letter) for letter in "aéb`"] == [text.count(letter) for letter in "aéb`"]


@given(st.text(alphabet="abc \n`*-#", max_size=60))
def test_a_text_without_tags_is_left_alone(text: str) -> None:
    assert (normalised(text), extract_answer(text)) == (text, text)


def test_a_prompt_that_opens_a_thought_is_recognized() -> None:
    for end in ("<think>", "<think>\n", "<think>\n\n", "[THINK]", "<thinking>\n"):
        assert opens_thought("<|im_start|>assistant\n" + end)
    for end in ("", "<think>\n\n</think>\n\n", "<think>\nHm"):
        assert not opens_thought("<|im_start|>assistant\n" + end)


def test_a_control_token_that_marks_a_thought_becomes_a_tag() -> None:
    assert {thought_tag(opening) for opening, _ in list(DIALECTS.values())[:8]} == {OPENING}
    assert {thought_tag(closing) for _, closing in list(DIALECTS.values())[:8]} == {CLOSING}
    for token in ("<|im_end|>", "<|end|>", "<s>", "", "<|think|>", "<|channel|>"):
        assert thought_tag(token) == ""


@pytest.mark.timeout(30)
def test_a_long_reply_of_blanks_takes_linear_time() -> None:
    text = " \n" * 100_000 + "x"
    assert (normalised(text), extract_answer(text)) == (text, text)


def test_a_later_opening_tag_without_a_closing_tag_is_text() -> None:
    said = "Magistral uses tags.\n[THINK] opens and </think> is DeepSeek's.\nThe end."
    assert extract_answer(f"[THINK]hm[/THINK]{said}") == said


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("unit", "count"),
    [
        ("<think>\n\n", 20_000),
        ("<think>a</think>b\n", 20_000),
        ("'</think>' ", 20_000),
        ("[THINK]\n", 20_000),
        ("</think> ", 20_000),
        ("```\n<think>\n```\n", 30_000),
    ],
)
def test_any_number_of_tags_is_read_in_one_pass(unit: str, count: int) -> None:
    """Each was quadratic once: minutes, where this is a second."""
    text = f"Loop:\n{unit * count}"
    assert extract_answer(text) is not None
