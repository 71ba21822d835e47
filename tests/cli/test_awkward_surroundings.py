"""Commands in broken environments: a sentence with a cure, never a traceback."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.program import run
from tests.engine.cpu.native_kernel import lend_kernel
from tests.engine.cpu.tiny_models import build, save
from ttchat_tui.config.toml_file import read_toml

CHECKOUT = str(Path(__file__).parents[2])


def into_a_deleted_folder(place: Path) -> Callable[[], None]:
    """A function that moves a new process there."""
    gone = place / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    return leave


def said(done: subprocess.CompletedProcess[str]) -> str:
    both = done.stdout + done.stderr
    assert "Traceback" not in both
    return both


def test_too_few_open_files_are_named_and_the_folder_is_not_blamed() -> None:
    done = run("paths", before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8)))
    words = said(done)
    assert done.returncode == 1
    assert "Too many files are open" in words
    assert "ulimit -n" in words


@pytest.mark.parametrize("command", [("doctor",), ("paths",), ("export", "--list"), ("models", "list")])
def test_a_current_folder_that_was_deleted_ends_no_command(command: tuple[str, ...], tmp_path: Path) -> None:
    assert said(run(*command, before=into_a_deleted_folder(tmp_path), PYTHONPATH=CHECKOUT))


def test_a_prompt_is_answered_in_a_folder_that_was_deleted(tmp_path: Path) -> None:
    lend_kernel(tmp_path / "cache")
    done = run(
        *("-p", "hi", "--max-tokens", "8", "-m", str(save(build("llama"), tmp_path / "llama"))),
        before=into_a_deleted_folder(tmp_path),
        PYTHONPATH=CHECKOUT,
    )
    assert done.returncode == 0, said(done)
    assert done.stdout.strip()


def test_an_engine_in_this_process_needs_a_folder_and_says_so(tmp_path: Path) -> None:
    done = run(
        "-p", "hi", "--isolation", "thread", before=into_a_deleted_folder(tmp_path), PYTHONPATH=CHECKOUT
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ttchat-tui: The current folder has been deleted. Change to another one (cd).\n"


def test_a_host_with_an_empty_part_is_refused() -> None:
    done = run("serve", "--host", "a..b")
    assert "Choose another --host" in said(done)
    assert done.returncode == 1


@pytest.mark.parametrize("text", ["a" * 300, "./" + "a" * 300 + ".gguf", "~nobody-is-called-so/x.gguf"])
def test_a_model_that_can_be_no_path_is_refused(text: str) -> None:
    done = run("-p", "hi", "--model", text)
    assert said(done)
    assert done.returncode == 2


@pytest.mark.parametrize("text", ["a = " + "[" * 3000 + "]" * 3000, "a." * 3000 + "b = 1"])
def test_a_config_nested_three_thousand_deep_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "deep.toml"
    file.write_text(text)
    done = run("--config", str(file), "-p", "hi")
    assert str(file) in said(done)
    assert done.returncode == 2


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "windows.toml"
    file.write_bytes(b"\xef\xbb\xbf[sampling]\r\ntemperature = 0.5\r\n")
    assert read_toml(file) == {"sampling": {"temperature": 0.5}}
