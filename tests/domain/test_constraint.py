"""Constraints from files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ttchat_tui.domain.constraint import Constraint, ConstraintError, constraint_from_file, typed_constraint
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
