"""The UI state survives crashes, newer versions and broken files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ttchat_tui.config import ui_state
from ttchat_tui.config.ui_state import UiState, load_ui_state, save_ui_state

STATE = UiState(theme="tenstorrent-light", show_controls=False, last_model="qwen3-0.6b")


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "state" / "ui.json"
    save_ui_state(file, STATE)
    assert load_ui_state(file) == STATE
    assert [each.name for each in file.parent.iterdir()] == ["ui.json"]


def test_at_the_first_start_nothing_is_chosen(tmp_path: Path) -> None:
    assert load_ui_state(tmp_path / "ui.json") == UiState()
    assert list(tmp_path.iterdir()) == []


def test_keys_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    file.write_text('{"theme": "x", "hologram": true}')
    assert load_ui_state(file) == UiState(theme="x")


@pytest.mark.parametrize("content", [b"", b"{", b'{"theme": 3}', b"[]", b'{"theme": "\xff"}', b"\x00\x01"])
def test_a_broken_file_is_renamed_and_the_defaults_apply(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "ui.json"
    file.write_bytes(content)
    assert load_ui_state(file) == UiState()
    assert not file.exists()
    assert (tmp_path / "ui.json.bad").read_bytes() == content


def test_an_unreadable_file_gives_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "ui.json").mkdir()
    assert load_ui_state(tmp_path / "ui.json") == UiState()


def test_a_crash_while_saving_leaves_the_old_state_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ui.json"
    save_ui_state(file, STATE)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ui_state.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_ui_state(file, UiState())
    assert load_ui_state(file) == STATE
    assert [each.name for each in tmp_path.iterdir()] == ["ui.json"]


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file = tmp_path / "ui.json"
    save_ui_state(file, STATE)
    assert os.stat(file).st_mode & 0o777 == 0o600
