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
