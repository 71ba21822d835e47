"""Constraints from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.domain.constraint import Constraint, ConstraintError, constraint_from_file


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


@pytest.mark.parametrize("text", ['{"type": "integer"}', "true", "false"])
def test_a_schema_may_begin_with_the_mark_that_editors_write(tmp_path: Path, text: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text, encoding="utf-8-sig")
    assert constraint_from_file("json-schema", file) == Constraint("json-schema", text)


def test_a_schema_that_is_nested_too_deeply_has_a_summary() -> None:
    text = '{"not":' * 99_999 + "{}" + "}" * 99_999
    assert Constraint("json-schema", text).summary == f"json-schema of {len(text):,} characters"
