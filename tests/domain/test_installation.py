"""The command that adds a package to the environment of this program."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shlex
import sys
from pathlib import Path

import pytest

import ttchat_tui
from ttchat_tui.domain.installation import install_command


def lack(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find(name))


def test_the_command_names_this_python_and_nothing_from_the_path() -> None:
    program, *rest = shlex.split(install_command("ttchat-tui[web]"))
    assert program == sys.executable
    assert rest == ["-m", "pip", "install", "ttchat-tui[web]"]


def test_an_environment_without_pip_is_one_that_uv_made(monkeypatch: pytest.MonkeyPatch) -> None:
    lack(monkeypatch, "pip")
    assert shlex.split(install_command("gguf")) == [
        "uv", "pip", "install", "--python", sys.executable, "gguf"
    ]  # fmt: skip


def test_a_checkout_that_is_not_installed_is_named_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> importlib.metadata.Distribution:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    *_, option, target = shlex.split(install_command("ttchat-tui[web]"))
    assert option == "-e"
    folder = Path(target.removesuffix("[web]"))
    assert folder / "ttchat_tui" == Path(ttchat_tui.__file__).parent
    assert (folder / "pyproject.toml").is_file()
    assert shlex.split(install_command("gguf"))[-1] == "gguf"


def test_a_python_in_a_folder_with_spaces_is_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/my tools/python")
    assert shlex.split(install_command("gguf"))[0] == "/my tools/python"
