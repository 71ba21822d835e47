"""Prompt templates: what is filled in is inert, and wrong values are named."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.domain.prompt_template import PromptTemplate, ValueProblem, Variable, placeholders

PIECES = st.sampled_from(
    ["{{a}}", "{{ b }}", "{{c}}", "{{a", "}}", "{", "{{}}", "{{a}}b}}", "\\1", "{%x%}", "é\n"]
)
TEXTS = st.lists(PIECES, max_size=6).map("".join)


def template(text: str, **variables: Variable) -> PromptTemplate:
    return PromptTemplate(name="t", text=text, variables=variables)


def test_only_declared_variables_are_filled_in() -> None:
    filled = template("{{a}} {{ a }} {{b}} {{a.b}} {{ a|upper }} {% if a %}", a=Variable()).filled({"a": "1"})
    assert filled == "1 1 {{b}} {{a.b}} {{ a|upper }} {% if a %}"


@given(TEXTS, st.dictionaries(st.sampled_from("abc"), TEXTS))
@example("{{a}} {{b}}", {"a": "{{b}}", "b": "{{a}}"})
@example("{{a}}b}}", {"a": "{{", "b": "x"})
@settings(max_examples=sized(60, 5000), deadline=None)
def test_a_value_is_never_read_again(text: str, values: dict[str, str]) -> None:
    """The reference fills in values that have no braces, and puts the real ones in afterwards."""
    marks = {name: f"\x00{place}\x01" for place, name in enumerate(values)}
    expected = template(text).filled(marks)
    for name, mark in marks.items():
        expected = expected.replace(mark, values[name])
    assert template(text).filled(values) == expected
    assert set(placeholders(template(text).filled(marks))) == set(placeholders(text)) - set(values)


def test_a_default_stands_in_for_a_value_that_is_not_given() -> None:
    wanted = template("", a=Variable(default="x"), b=Variable(), c=Variable(default="", choices=("", "y")))
    assert wanted.values({"b": ""}) == {"a": "x", "b": "", "c": ""}


@pytest.mark.parametrize(
    ("given_values", "variable", "words"),
    [
        ({}, "code", "needs a value for code (the code). Give it a text."),
        (
            {"code": "1", "tone": "mad"},
            "tone",
            "tone cannot be 'mad' in the template t. Give it one of kind, harsh.",
        ),
        ({"code": "1", "cod": "2"}, "cod", "has no variable cod. It has code, tone."),
    ],
)
def test_a_wrong_value_is_named_with_its_cure(
    given_values: dict[str, str], variable: str, words: str
) -> None:
    code, tone = Variable(description="the code"), Variable(default="kind", choices=("kind", "harsh"))
    with pytest.raises(ValueProblem) as raised:
        template("", code=code, tone=tone).values(given_values)
    assert raised.value.variable == variable
    assert words in f"{raised.value.info.message} {raised.value.info.cure}"
