"""The app's folders, and the variables that move them."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import find_paths


def test_each_folder_can_be_moved(tmp_path: Path) -> None:
    environ = {f"TTCHAT_{scope}_DIR": str(tmp_path / scope) for scope in ("CONFIG", "DATA", "CACHE", "STATE")}
    paths = find_paths(environ)
    assert (paths.config_dir, paths.data_dir, paths.cache_dir, paths.state_dir) == (
        tmp_path / "CONFIG",
        tmp_path / "DATA",
        tmp_path / "CACHE",
        tmp_path / "STATE",
    )


def test_without_variables_they_follow_the_platform(tmp_path: Path) -> None:
    # tests/conftest.py points the XDG variables below tmp_path
    assert find_paths({}).data_dir.name == "ttchat-tui"


def test_a_relative_folder_and_a_home_folder_become_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = find_paths({"TTCHAT_DATA_DIR": "here", "TTCHAT_CACHE_DIR": "~/there"})
    assert paths.data_dir == tmp_path / "here"
    assert paths.cache_dir == Path.home() / "there"


def test_an_empty_variable_counts_as_unset() -> None:
    assert find_paths({"TTCHAT_DATA_DIR": ""}) == find_paths({})


def test_every_file_is_in_its_folder_and_nothing_is_created(tmp_path: Path) -> None:
    environ = {f"TTCHAT_{scope}_DIR": str(tmp_path / scope) for scope in ("CONFIG", "DATA", "CACHE", "STATE")}
    paths = find_paths(environ)
    assert paths.config_file == tmp_path / "CONFIG" / "config.toml"
    assert paths.themes_dir == tmp_path / "CONFIG" / "themes"
    assert paths.database.parent == paths.exports_dir.parent == tmp_path / "DATA"
    assert paths.models_dir == tmp_path / "CACHE" / "models"
    assert paths.log_file.parent == paths.ui_state_file.parent == tmp_path / "STATE"
    assert list(tmp_path.iterdir()) == []


def test_without_a_home_folder_the_variables_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer versions of platformdirs raise RuntimeError there, older ones give `~`."""

    def homeless(_app: str) -> str:
        raise RuntimeError("could not determine the home directory")

    for kind in ("config", "data", "cache", "state"):
        monkeypatch.setattr(platformdirs, f"user_{kind}_dir", homeless)
    with pytest.raises(ConfigError, match=r"TTCHAT_CONFIG_DIR: the home folder in ~ is unknown.*set HOME"):
        find_paths({})
    named = {f"TTCHAT_{kind}_DIR": f"/x/{kind}" for kind in ("CONFIG", "DATA", "CACHE", "STATE")}
    assert find_paths(named).state_dir == Path("/x/STATE")
