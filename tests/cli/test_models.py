"""`models` as a program: stdout for other programs, stderr for the user, and the exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli import program
from tests.models.builders import GGUF, write_folder


def models(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return program.run("models", *arguments, before=None, **environ)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.gguf"
    path.write_bytes(GGUF)
    return path


def test_a_pull_reports_name_size_and_path(file: Path) -> None:
    done = models("pull", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}\n")
    assert done.stderr == f"ttchat-tui: mine.gguf is here: 0.131 MB at {file}.\n"


def test_the_path_without_a_name_is_that_of_the_configured_model(tmp_path: Path, file: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(f'[model]\nname = "{file}"\n')
    assert models("path").stdout == f"{file}\n"
    other = write_folder(tmp_path / "other")
    assert models("path", TTCHAT_MODEL=str(other)).stdout == f"{other}\n"


def test_the_path_without_a_name_and_settings_is_that_of_the_default() -> None:
    done = models("path")
    assert (done.returncode, done.stdout) == (2, "")
    assert "smollm2-135m-instruct is not on this machine." in done.stderr


def test_the_path_of_a_wrong_setting_names_the_setting() -> None:
    done = models("path", TTCHAT_MODEL="nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("ttchat-tui: TTCHAT_MODEL: No model is called 'nonsense'.")


def test_a_file_of_the_users_is_refused_before_anything_is_done(file: Path) -> None:
    done = models("rm", str(file))
    assert (done.returncode, done.stdout, file.exists()) == (2, "", True)


@pytest.mark.parametrize("command", ["pull", "path", "rm"])
def test_a_served_model_has_no_path(command: str) -> None:
    done = models(command, "remote:lab/llama-3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "remote:lab/llama-3 is a server's model" in done.stderr
