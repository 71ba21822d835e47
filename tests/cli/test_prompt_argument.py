"""`-p` with a text, with stdin, with flags behind it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli import program
from ttchat_tui.cli.prompt_argument import with_stdin_named

TAKES_VALUE = {
    "-p": True,
    "--prompt": True,
    "-m": True,
    "--max-tokens": True,
    "-c": False,
    "--continue": False,
}


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["-p"], ["-p", "-"]),
        (["-p", "hi"], ["-p", "hi"]),
        (["-p", "-"], ["-p", "-"]),
        (["-p", "--max-tokens", "10"], ["-p", "-", "--max-tokens", "10"]),
        (["-p", "--max-tokens=10"], ["-p", "-", "--max-tokens=10"]),
        (["-p", "--max-token", "10"], ["-p", "-", "--max-token", "10"]),
        (["-p", "-m", "x", "-c"], ["-p", "-", "-m", "x", "-c"]),
        (["-p", "-mx"], ["-p", "-", "-mx"]),
        (["--prompt", "-c"], ["--prompt", "-", "-c"]),
        (["--prompt=hi", "-c"], ["--prompt=hi", "-c"]),
        (["-cp"], ["-cp", "-"]),
        (["-cp", "hi"], ["-cp", "hi"]),
        (["-p", "- milk\n- eggs"], ["-p", "- milk\n- eggs"]),
        (["-p", "-5 in Fahrenheit?"], ["-p", "-5 in Fahrenheit?"]),
        (["-p", "-5"], ["-p", "-5"]),
        (["-p", "--max-tokens is what?"], ["-p", "--max-tokens is what?"]),
        (["-p", ""], ["-p", ""]),
        (["-m", "-p", "-c"], ["-m", "-p", "-c"]),
        (["-mp", "-c"], ["-mp", "-c"]),
        (["-c", "-p"], ["-c", "-p", "-"]),
        (["-cm", "foo", "-p"], ["-cm", "foo", "-p", "-"]),
        (["-cmfoo", "-p"], ["-cmfoo", "-p", "-"]),
        (["-p", "---"], ["-p", "---"]),
        (["doctor", "-p"], ["doctor", "-p"]),
        (["--", "-p"], ["--", "-p"]),
    ],
)
def test_a_prompt_that_is_not_there_is_stdin(typed: list[str], read: list[str]) -> None:
    assert with_stdin_named(typed, TAKES_VALUE) == read


@given(
    st.lists(st.sampled_from([*TAKES_VALUE, "-", "--", "", "hi", "-cp", "--max-tokens=1", "-5"]), max_size=8)
)
def test_no_argument_is_lost_and_a_second_pass_changes_nothing(typed: list[str]) -> None:
    read = with_stdin_named(typed, TAKES_VALUE)
    left = iter(read)
    assert all(each in left for each in typed)
    assert with_stdin_named(read, TAKES_VALUE) == read


def test_flags_behind_a_prompt_on_stdin_are_flags() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ttchat_tui",
            "-p",
            "--base-url",
            "http://127.0.0.1:9/v1",
            "--max-tokens",
            "3",
        ],
        input="Say hi",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Nothing answers at 127.0.0.1:9" in done.stderr


def test_a_prompt_of_several_arguments_wants_quotes() -> None:
    done = program.run("-p", "say", "hi")
    assert done.returncode == 2
    assert "put it in quotes" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("-p", "hi", "doctor"), ("-m", "x", "bench"), ("--max-tokens", "3", "paths")]
)
def test_flags_of_the_chat_are_refused_by_subcommands(arguments: tuple[str, ...]) -> None:
    """They would have no effect: `-m x bench` would measure another model."""
    done = program.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"is a flag of the chat. Flags of {arguments[-1]} come after its name." in done.stderr
