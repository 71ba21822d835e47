"""The checks of `doctor` that concern no engine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ttchat_tui.cli.doctor import checks
from ttchat_tui.cli.doctor.checks import EXTRAS, _configuration, _conversations, _extras
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.installation import install_command


def test_damaged_conversations_are_reported_without_a_word_about_a_session(tmp_path: Path) -> None:
    paths = msgspec.structs.replace(find_paths({"HOME": str(tmp_path)}), data_dir=tmp_path)
    paths.database.write_bytes(b"no database" * 100)
    check = _conversations(paths)
    assert check.verdict == "wrong"
    assert check.fact.endswith("is not a readable database.")
    assert "ttchat-tui repair" in check.cure


def test_a_wrong_setting_names_a_file_with_every_key_that_can_be_read(tmp_path: Path) -> None:
    paths = find_paths({"HOME": str(tmp_path)})
    file = tmp_path / "config.toml"
    file.write_text("[ui]\ntheem = 'x'\n")
    check = _configuration(paths, file)
    assert check.verdict == "wrong"
    example = Path(check.cure.partition("; ")[2].removesuffix(" shows every key."))
    load_config(paths, environ={}, file=example)


@pytest.mark.parametrize("missing", EXTRAS)
def test_each_extra_has_a_line_with_the_command_that_adds_it(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    absent = EXTRAS[missing][0]
    monkeypatch.setattr(checks, "version_of", lambda package: None if package == absent else "1.0")
    for name, check in zip(EXTRAS, _extras(), strict=True):
        is_missing = name == missing
        assert (check.subject, check.verdict) == (f"[{name}]", "ok")
        assert check.fact.startswith("not installed" if is_missing else "installed")
        assert check.cure == (install_command(f"ttchat-tui[{name}]") if is_missing else "")


@pytest.mark.parametrize(
    ("kind", "text"),
    [("regex", "[a"), ("json-schema", '{"type": "foo"}'), ("json-schema", "{"), ("grammar", "start: x")],
)
def test_a_constraint_that_stops_every_start_is_wrong_and_names_file_and_key(
    tmp_path: Path, kind: str, text: str
) -> None:
    paths = find_paths({"HOME": str(tmp_path)})
    file = tmp_path / "config.toml"
    file.write_text(f"[sampling]\nconstraint = {{kind = '{kind}', text = '{text}'}}\n")
    check = _configuration(paths, file)
    assert check.verdict == "wrong"
    assert check.fact.startswith(f"{file}: sampling.constraint: The {kind} cannot be used: ")
    file.write_text(f"{file.read_text()}[model]\nengine = 'remote'\n")
    assert _configuration(paths, file).verdict == "ok", "a server has syntax of its own"


@pytest.mark.parametrize(
    ("kind", "text"), [("regex", "[ab]+"), ("json-schema", "true"), ("grammar", 'start: "a"+')]
)
def test_a_constraint_that_can_be_followed_is_no_fault(tmp_path: Path, kind: str, text: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[sampling]\nconstraint = {{kind = '{kind}', text = '{text}'}}\n")
    assert _configuration(find_paths({"HOME": str(tmp_path)}), file).verdict == "ok"
    file.write_text("[sampling]\ntemperature = 0.5\n")
    assert _configuration(find_paths({"HOME": str(tmp_path)}), file).verdict == "ok"
