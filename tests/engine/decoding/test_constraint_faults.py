"""What is said of a constraint that cannot be used: the piece, its place and the cure, and nothing of llguidance's own text."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.decoding.test_constraint import responder
from tests.size import sized
from ttchat_tui.domain.constraint import Constraint, ConstraintKind
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.constraint_faults import cleaned

RESPONDER = responder()


def problem(kind: ConstraintKind, text: str) -> ErrorInfo | None:
    return RESPONDER.count(1, [], SamplingParams(constraint=Constraint(kind, text))).constraint_problem


@pytest.mark.parametrize(
    ("expression", "what", "cure"),
    [
        ("[a", "“[” in column 1 is never closed", "Close it with ], or write \\[ for the character itself."),
        ("漢(字", "“(” in column 2 is never closed", "Close it with ), or write \\( for the character itself."),
        ("a)", "“)” in column 2 closes nothing", "Open it with (, or write \\) for the character itself."),
        ("ab{2", "“{2” in column 3 is never closed", "Close it with }, or write \\{ for the character itself."),
        ("a{x}", "“x” in column 3 is no number of repetitions", "Write {2} or {2,5}, or \\{ for the character itself."),
        ("*a", "“*” in column 1 has nothing to repeat", "Write what it repeats before it, or write \\* for the character itself."),
        ("a{2,1}", "“{2,1}” in column 2 runs backwards", "Write the smaller number first."),
        ("x(?=a)", "“(?=” in column 2 is look-around, which is not supported", "Describe the whole text without it."),
        ("(a)\\1", "“\\1” in column 4 refers back to a group, which is not supported", "Write what it stands for."),
        ("a$b", "“$” is not supported except at the end", "Leave it out: the whole text always matches, from its first character to its last."),
        ("a\\", "the backslash at its end escapes nothing", "Correct it."),
        ("(" * 999 + ")" * 999, "its groups are nested too deeply", "Write it with fewer parentheses."),
        ("[a&&b]", "no text has this form", "Correct it."),
        ("(?P<n", "its end: unclosed capture group name", "Correct it."),
    ],
)  # fmt: skip
def test_the_piece_of_an_expression_is_named(expression: str, what: str, cure: str) -> None:
    found = problem("regex", expression)
    assert found == ErrorInfo(kind="usage", message=f"The regex cannot be used: {what}.", cure=cure)


@pytest.mark.parametrize(
    ("grammar", "what"),
    [
        ("start: A\nA: /x(/", "in line 2, in the regex “x(”, “(” in column 2 is never closed"),
        ("start: a\na: b", "in line 2, “b” is not defined"),
        ('start: "a"\nstart: "b"', "in line 2, “start” is defined twice"),
        ('a: "b"', "it has no rule named start"),
        ('A: A "x"\nstart: A', "in line 1, the token “A” refers to itself"),
        ("start: <|none|>", "in line 1, the model has no token “<|none|>”"),
        ('start: a\n\n a: "é" $', "in line 3, “$” in column 9 cannot be read"),
        ('start: a\na "b"', "in line 2, “\"b\"” in column 3 is not expected here, but “:”"),
        ('start: %json {"type": "x"}', "in line 1, in the JSON schema, there is no type “x”"),
        ("start: start", "no text has this form"),
    ],
)  # fmt: skip
def test_the_line_of_a_grammar_is_named(grammar: str, what: str) -> None:
    found = problem("grammar", grammar)
    assert found is not None
    assert found.message == f"The grammar cannot be used: {what}."
    assert found.cure


def test_a_grammar_of_llama_cpp_is_known_by_its_look() -> None:
    found = problem("grammar", 'root ::= "yes" | "no"')
    assert found is not None
    assert found.cure == "Grammars are in Lark: it writes name: where GBNF writes name ::=."


INNER = {
    '{"type": "x"}': "/type, there is no type “x”",
    '{"type": "string", "format": "x"}': "/format, the format “x” is not supported",
    '{"type": "string", "pattern": "[a"}': "/pattern, “[” in column 1 is never closed",
    '{"patternProperties": {"[a": {}}}': "/patternProperties, “[” in column 1 is never closed",
    '{"not": {}}': ", there is no support for “not”",
    '{"if": {}, "then": {}}': ", there is no support for “if”, “then”",
    '{"$ref": "#/x"}': "/$ref, “#/x” is not in the schema",
    '{"$ref": "http://x/y"}': "/$ref, “http://x/y” is another file, which is not read",
    '{"type": "string", "minLength": "a"}': "/minLength, it takes positive integers, not “a”",
}
"""Schemas and what is said of them, after the place of the whole schema."""


@pytest.mark.parametrize("schema", INNER)
@pytest.mark.parametrize(
    ("outer", "place"),
    [
        ('{"type": "object", "properties": {"a/b": %s}, "required": ["a/b"]}', "/properties/a~1b"),
        ('{"type": "array", "prefixItems": [{}, %s], "minItems": 2}', "/prefixItems/1"),
        ('{"type": "array", "minItems": 1, "items": %s}', "/items"),
    ],
)
def test_the_place_in_a_schema_is_named(schema: str, outer: str, place: str) -> None:
    found = problem("json-schema", outer % schema)
    assert found is not None
    assert found.message == f"The json-schema cannot be used: in {place}{INNER[schema]}."


@pytest.mark.parametrize("schema", INNER)
def test_the_whole_schema_has_no_place(schema: str) -> None:
    found = problem("json-schema", schema)
    assert found is not None
    place = f"in {INNER[schema]}" if INNER[schema].startswith("/") else INNER[schema].removeprefix(", ")
    assert found.message == f"The json-schema cannot be used: {place}."


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ('{"type": "string", "minLength": 3, "maxLength": 2}', "no value fits: minLength (3) is greater than maxLength (2)"),
        ('{"anyOf": []}', "in /anyOf, no value fits an empty list"),
        ('{"type": "object", "properties": {"a": false}, "required": ["a"]}', "in /properties/a, no value fits"),
        ("false", "no value is valid against false"),
        ('{"$ref": "#"}', "no text has this form"),
    ],
)  # fmt: skip
def test_a_schema_that_no_value_fits_is_refused(schema: str, what: str) -> None:
    found = problem("json-schema", schema)
    assert found is not None
    assert found.message == f"The json-schema cannot be used: {what}."


PIECES = [*'ab[](){}|*+?^$\\/.-:"&~,=<>%@!\n ', "start: ", "漢", "\x1b"]
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=14).map("".join)


@settings(max_examples=sized(150, 10_000), deadline=None)
@given(st.sampled_from(["regex", "grammar"]), TEXTS, st.booleans())
def test_nothing_of_llguidances_own_text_is_said(kind: ConstraintKind, text: str, has_start: bool) -> None:
    found = problem(kind, f"start: {text}" if has_start else text)
    if found is None:
        return
    words = found.message.removeprefix(f"The {kind} cannot be used: ")
    assert len(found.message) < 300
    assert found.message.isprintable()
    assert found.cure
    for internal in ("parse error", "<state>", "invalid regex", " | start: ", "llguidance", "NoExtension"):
        assert internal not in words.replace(text, "")
    assert not re.match(r"(at )?\d+\(\d+\)", words)


@settings(max_examples=sized(50, 3_000), deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["[a", "string", "a", "#/x"])),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.sampled_from(["type", "pattern", "properties", "items", "anyOf", "enum", "$ref", "not", "minLength", "required", "multipleOf", "format", "oneOf", "x"]),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=8,
    )
)  # fmt: skip
def test_any_schema_is_taken_or_refused_in_words(schema: object) -> None:
    found = problem("json-schema", json.dumps(schema))
    assert found is None or (
        found.message.isprintable() and found.cure and "parse error" not in found.message
    )


def test_what_llguidance_says_of_its_state_is_left_out() -> None:
    assert cleaned("NoExtensionBias\n<state>\nTokens: 3\n</state>") == "no text has this form"
    assert cleaned("ParserTooComplex\n<state>") == "it is too large to be followed"
    assert cleaned("at 3(4): odd thing\n   3 | x: y\n      ^\n") == "odd thing"
    assert len(cleaned("word " * 200)) == 200
