"""A command line that cannot be used: one line that says why, and exit code 2, for every command and every flag."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.cli import program
from ttchat_tui.cli.main import app
from ttchat_tui.models.catalog import catalog

NONE = "none.json"


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command and its words; groups too."""
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


COMMANDS = list(commands(typer.main.get_command(app)))
TYPED = [
    (words, each.opts[0])
    for words, command in COMMANDS
    for each in command.params
    if each.opts[0].startswith("--") and each.type.name in ("integer", "float", "choice", "integer range")
]
REQUIRED = [words for words, command in COMMANDS if any(each.required for each in command.params)]


def refusal(*line: str) -> str:
    """Why `line` is refused, in the one form that all refusals have."""
    done = CliRunner().invoke(app, line)
    assert (done.exit_code, done.stdout) == (2, ""), done.output
    assert done.stderr.startswith("ttchat-tui: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("ttchat-tui: ").rstrip()


def test_the_tables_are_not_empty() -> None:
    assert len(COMMANDS) > 15
    assert len(TYPED) > 30
    assert ("score",) in REQUIRED


@pytest.mark.parametrize("words", [words for words, _ in COMMANDS], ids=" ".join)
def test_a_flag_that_does_not_exist(words: tuple[str, ...]) -> None:
    called = " ".join(("ttchat-tui", *words))
    assert refusal(*words, "--qqq") == f"No such option: --qqq. See `{called} --help`."


@pytest.mark.parametrize(("words", "flag"), TYPED, ids=" ".join)
def test_a_value_of_another_type(words: tuple[str, ...], flag: str) -> None:
    said = refusal(*words, flag, "\x1bodd")
    assert said.startswith(f"{flag}")
    assert "odd' is not " in said
    assert "integer" not in said


@pytest.mark.parametrize(
    "value", ["is not a valid int", "is not in the range 1<=x<=2", "Invalid value for x: y"]
)
def test_a_value_that_looks_like_a_refusal_is_quoted_as_it_was_typed(value: str) -> None:
    assert refusal("--seed", value) == f"--seed: '{value}' is not a whole number. See `ttchat-tui --help`."


@pytest.mark.parametrize(("words", "flag"), TYPED, ids=" ".join)
def test_a_flag_without_its_value(words: tuple[str, ...], flag: str) -> None:
    said = refusal(*words, flag)
    assert said.startswith(f"Option '{flag}' requires an argument. See `ttchat-tui")
    assert said.endswith(" --help`.")


@pytest.mark.parametrize("words", REQUIRED, ids=" ".join)
def test_an_argument_that_is_missing(words: tuple[str, ...]) -> None:
    assert refusal(*words).startswith("Missing argument '")


@pytest.mark.parametrize(
    "words", [words for words, each in COMMANDS if hasattr(each, "commands")], ids=" ".join
)
def test_a_command_that_does_not_exist(words: tuple[str, ...]) -> None:
    assert refusal(*words, "nonsense").startswith("No such command 'nonsense'.")


@pytest.mark.parametrize("line", [("models", "list"), ("a", "word"), ("-p", "x"), ("--plain",)], ids=" ".join)
def test_a_page_has_flags_of_the_screen_only(line: tuple[str, ...]) -> None:
    assert "only flags of the full screen come after --" in refusal("serve", "--", *line)


@pytest.mark.parametrize("line", [
    ("score", NONE), ("score", "."), ("import", NONE), ("import", __file__, NONE), ("-p", "x", "--attach", NONE),
    ("-p", "x", "--json-schema", NONE), ("-p", "x", "--grammar", NONE), ("-p", "x", "--template", NONE), ("-p", "x", "--preset", NONE),
    ("-p", "x", "-m", f"./{NONE}"), ("bench", "-m", f"./{NONE}"), ("models", "pull", NONE), ("models", "rm", NONE), ("models", "path", NONE),
    *(("models", command, each.alias) for command in ("rm", "path") for each in catalog().models[:3]), ("models", "path"),
    ("export", "99"), ("replay", "99"), ("--config", NONE, "-p", "x"), ("serve", "--", "--config", NONE),
    *(("--config", NONE, *words) for words, each in COMMANDS if words not in ((), ("doctor",)) and not hasattr(each, "commands")
      and not any(parameter.required for parameter in each.params)),
], ids=" ".join)  # fmt: skip
def test_what_is_not_there(line: tuple[str, ...], own_folders: Path) -> None:
    """A file, a model, a template or a number that a command line names."""
    done = program.run(*line)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("ttchat-tui: ")
    assert done.stderr.count("\n") == 1


def test_json_is_asked_for_alike_and_the_earlier_flag_still_works(own_folders: Path) -> None:
    for _, command in COMMANDS:
        names = {opt: each for each in command.params for opt in each.opts}
        if "--json" in names:
            assert names["--json"].hidden
            assert "--output" in names
    paths = [program.run("paths", *flags).stdout for flags in (("--output", "json"), ("--json",))]
    assert paths[0] == paths[1] != ""
    assert paths[0].startswith("{")
