"""Constraints from files, and choices."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.constraint import (
    LONGEST_CHOICE,
    MOST_CHOICES,
    Constraint,
    ConstraintError,
    constraint_from_file,
    typed_constraint,
)
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.text import visible_line


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe{\x00}\x00", "cannot be read: it is not UTF-8"),
        (b'{"type":', "is no JSON: "),
        (b'{"const": NaN}', "is no JSON: NaN is not in JSON"),
        (b'{"const": -Infinity}', "is no JSON: -Infinity is not in JSON"),
        (b"[1]", "is no JSON schema, which is an object, true or false"),
        (b'"text"', "is no JSON schema"),
        (b"null", "is no JSON schema"),
        (b'{"not":' * 99_999 + b"{}" + b"}" * 99_999, "is nested too deeply"),
    ],
)
def test_a_file_that_is_no_schema_is_refused_with_the_reason(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "schema.json"
    file.write_bytes(content)
    with pytest.raises(ConstraintError) as caught:
        constraint_from_file("json-schema", file)
    assert str(caught.value).startswith(f"{file} {why}")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("~nobody-of-this-name/schema.json", "No such file or directory"),
        ("~\x1b[31m", "No such file or directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 5_000, "File name too long"),
        ("/dev/zero", "it is a device"),
        ("pipe", "it is a named pipe"),
        (".", "Is a directory"),
    ],
)
@pytest.mark.parametrize("kind", ["json-schema", "grammar"])
def test_a_name_of_no_file_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, why: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(ConstraintError) as caught:
        typed_constraint(f"{kind} {name}")
    assert str(caught.value) == f"{visible_line(name)} cannot be read: {why}."


def test_no_more_of_a_file_is_read_than_a_constraint_may_have(tmp_path: Path) -> None:
    file = tmp_path / "sparse"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(ConstraintError, match="is longer than 1,000,000 characters"):
        constraint_from_file("grammar", file)


def test_a_command_line_may_give_a_pipe() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"start: /a/")
    os.close(writer)
    assert constraint_from_file("grammar", Path(f"/dev/fd/{reader}")) == Constraint("grammar", "start: /a/")
    os.close(reader)


@pytest.mark.parametrize("text", ['{"type": "integer"}', "true", "false"])
def test_a_schema_may_begin_with_the_mark_that_editors_write(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text, encoding="utf-8-sig")
    assert constraint_from_file("json-schema", file) == Constraint("json-schema", text)


def test_a_schema_that_is_nested_too_deeply_has_a_summary() -> None:
    text = '{"not":' * 99_999 + "{}" + "}" * 99_999
    assert Constraint("json-schema", text).summary == f"json-schema of {len(text):,} characters"


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"title": "Person", "properties": {"name": {}}}, '"Person"'),
        ({"properties": {"name": {}, "age": {}}}, "{name, age}"),
        ({"title": "", "properties": {"name": {}}}, "{name}"),
        ({"title": 3, "properties": {each: {} for each in "abcde"}}, "{a, b, c, d, …}"),
        ({"properties": {"x" * 50: {}}}, "{" + "x" * 40 + ", …}"),
        ({"properties": []}, ""),
        ({"properties": {}}, ""),
        ({"properties": {"": {}}}, ""),
    ],
)
def test_a_schema_is_named_by_its_title_or_its_first_properties(schema: object, named: str) -> None:
    text = json.dumps(schema)
    expected = named or f"of {len(text)} characters"
    assert Constraint("json-schema", text).summary == f"json-schema {expected}"


# --- choices


@pytest.mark.parametrize(
    ("typed", "choices", "shown"),
    [
        ("yes,no,maybe", ["yes", "no", "maybe"], "yes, no, maybe"),
        (" yes ,\tno", ["yes", "no"], "yes, no"),
        ('"very good",bad', ["very good", "bad"], "very good, bad"),
        ("very good,bad", ["very good", "bad"], "very good, bad"),
        ('"no, thanks" , yes', ["no, thanks", "yes"], '"no, thanks", yes'),
        ('" yes",yes', [" yes", "yes"], '" yes", yes'),
        ('"say ""hi""",5" pipe', ['say "hi"', '5" pipe'], 'say "hi", 5" pipe'),
        ('"""hi""",x', ['"hi"', "x"], '"""hi""", x'),
        ("a|b,[x],\\", ["a|b", "[x]", "\\"], "a|b, [x], \\"),
        ("Yes,yes", ["Yes", "yes"], "Yes, yes"),
        ("\x1b[31m,漢", ["\x1b[31m", "漢"], "␛[31m, 漢"),
    ],
)
def test_choices_are_texts_with_commas_between(typed: str, choices: list[str], shown: str) -> None:
    constraint = typed_constraint(f"choices {typed}")
    assert constraint is not None
    assert constraint.choices == choices
    assert constraint.summary == f"choices {shown}"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("", "choices needs at least two texts with commas between: yes,no."),
        ("  ", "choices needs at least two texts"),
        ("yes", "choices needs at least two texts"),
        ("yes,,no", "choice 2 is empty: give it a text, or take out a comma."),
        ("yes,no,", "choice 3 is empty"),
        (",", "choice 1 is empty"),
        ('yes,"  "', "choice 2 is empty"),
        ("yes,no, yes", "choices 1 and 3 are the same: take one out."),
        ('yes,no,"no"', "choices 2 and 3 are the same"),
        ('yes,"no', "the quotation mark before choice 2 has no partner: write one after it."),
        (
            'yes,"no"\x1b body,x',
            'after the quotation mark that ends choice 2 comes ␛ body: put a comma between, or write "" for',
        ),
        (f"yes,{'x' * 501}", "choice 2 has 501 characters: give at most 500."),
        (",".join(map(str, range(1001))), "there are 1,001 choices: give at most 1,000."),
    ],
)
def test_choices_that_cannot_be_used_are_refused_with_the_place_and_the_cure(typed: str, why: str) -> None:
    for make in (lambda: typed_constraint(f"choices {typed}"), lambda: Constraint("choices", typed)):
        with pytest.raises(ConstraintError) as caught:
            make()
        assert str(caught.value).startswith(why)
        assert str(caught.value).endswith(".")


def test_choices_may_be_as_many_and_as_long_as_the_limits_say() -> None:
    many = [f"{number}".zfill(LONGEST_CHOICE) for number in range(MOST_CHOICES)]
    assert Constraint("choices", ",".join(many)).choices == many


@given(
    st.lists(
        st.text(st.one_of(st.sampled_from(', "\n\\|[]()'), st.characters(codec="utf-8")), max_size=9).filter(str.strip),
        min_size=2, max_size=6, unique=True,
    ),
    st.sampled_from(["", " ", "\t", " \n "]),
)  # fmt: skip
def test_any_texts_can_be_typed_and_stored_and_are_the_same_however_they_are_spaced(
    texts: list[str], space: str
) -> None:
    quoted = ['"{}"'.format(each.replace('"', '""')) for each in texts]
    constraint = Constraint("choices", f"{space},{space}".join(quoted))
    assert constraint.choices == texts
    assert constraint == Constraint("choices", ",".join(quoted))
    assert typed_constraint(f"choices {constraint.text}") == constraint, "as it is shown it can be typed"
    stored = msgspec.json.encode(constraint)
    assert msgspec.json.decode(stored, type=decodable(Constraint)) == constraint
    assert visible_line(constraint.summary) == constraint.summary


@given(st.text(st.sampled_from('", ab'), max_size=30))
def test_whatever_is_typed_is_at_least_two_different_texts_or_refused(typed: str) -> None:
    with contextlib.suppress(ConstraintError):
        choices = Constraint("choices", typed).choices
        assert len({*choices}) == len(choices) >= 2
        assert all(each.strip() for each in choices)
