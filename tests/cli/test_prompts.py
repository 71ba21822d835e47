"""`--template`, `--preset` and the lists of both, as the parser hands them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.cli import program
from ttchat_tui.cli import chat
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.config.errors import ConfigError

Run = Callable[..., Any]

REVIEW = """+++
[variables.code]
description = "the code"
[variables.tone]
default = "kind"
choices = ["kind", "harsh"]
+++
In a {{tone}} tone: {{code}}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Parses a command line: gives the invocation of the chat, or else what was printed."""
    monkeypatch.setenv("TTCHAT_CONFIG_DIR", str(tmp_path))
    for name, text in {
        "prompts/review.md": REVIEW,
        "prompts/pirate.md": '+++\nkind = "system"\n+++\nYou are a pirate.',
        "presets/terse.toml": 'model = "m"\nsystem_prompt = "Be brief."\n[sampling]\ntemperature = 0.1\nstop = ["x"]\n',
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    invocations: list[Invocation] = []
    monkeypatch.setattr(chat, "run", lambda invocation: invocations.append(invocation) or 0)

    def parse(*arguments: str, stdin: str = "") -> Invocation | str:
        invocations.clear()
        done = CliRunner().invoke(app, arguments, input=stdin)
        error = f"\n{done.exception}" if isinstance(done.exception, ConfigError) else ""
        return invocations[0] if invocations else done.output + error

    return parse


def test_a_template_is_the_prompt_with_the_text_and_stdin_below_it(run: Run) -> None:
    assert run("--template", "review", "-V", "code={{tone}}=1").prompt == "In a kind tone: {{tone}}=1"
    given = run("--template", "review", "-V", "code=", "--var", "tone=harsh", "-p", "typed", stdin="piped\n")
    assert given.prompt == "In a harsh tone: \n\ntyped\n\npiped"
    assert (
        run("--template", "review", "-V", "code=1", "-p", stdin="piped").prompt
        == "In a kind tone: 1\n\npiped"
    )


def test_a_template_for_the_system_prompt_leaves_the_prompt_alone(run: Run) -> None:
    given = run("--template", "pirate")
    assert (given.prompt, given.system_flag) == (None, "You are a pirate.")
    assert run("--template", "pirate", "-p", "Hi").prompt == "Hi"
    assert "as --system is" in run("--template", "pirate", "--system", "x")


def test_a_value_that_is_missing_or_wrong_is_named_with_the_flag_that_gives_it(run: Run) -> None:
    assert "needs a value for code (the code). Give it a text: -V code=…" in run("--template", "review")
    assert "Give it one of kind, harsh: -V tone=…" in run(
        "--template", "review", "-V", "code=1", "-V", "tone=x"
    )
    assert "has no variable cod" in run("--template", "review", "-V", "cod=1")
    assert "'code' is not NAME=VALUE" in run("--template", "review", "-V", "code")
    assert "it needs --template" in run("-V", "code=1", "-p", "x")
    assert "there is no template revie; did you mean review?" in run("--template", "revie")
    assert "there is no preset ters; did you mean terse?" in run("--preset", "ters", "-p", "x")


def test_an_error_in_a_file_is_the_result_in_json_too(run: Run) -> None:
    lines = run("--template", "revie", "--output", "json").splitlines()
    assert json.loads(lines[0])["error"]["kind"] == "config"
    assert run("--template", "revie").splitlines()[0] == ""


def test_flags_override_a_preset_and_a_template_its_system_prompt(run: Run) -> None:
    given = run("--preset", "terse", "-p", "x")
    assert given.flags == {
        "model.name": "m", "system_prompt": "Be brief.", "sampling.temperature": 0.1, "sampling.stop": ("x",)
    }  # fmt: skip
    assert given.model_flag == "--preset"
    over = run("--preset", "terse", "--temperature", "1", "-m", "n", "--template", "pirate", "-p", "x")
    assert over.sampling_flags == {"temperature": 1.0, "stop": ("x",)}
    assert (over.flags["model.name"], over.model_flag) == ("n", "--model")
    assert over.system_flag == "You are a pirate."


def test_the_lists_name_what_is_usable_and_report_what_is_not(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prompts" / "bad.md").write_text("+++\n")
    listed = run("prompts", "list")
    assert [line.split()[:4] for line in listed.splitlines()[1:3]] == [
        ["pirate", "system"], ["review", "prompt", "code", "[tone]"]
    ]  # fmt: skip
    assert "bad.md: line 1: the front matter has no end" in listed
    assert "terse     temperature 0.1, 1 stop string, model m, system prompt" in run("presets", "list")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--json-schema", "none.json"), "--json-schema: none.json cannot be read"),
        (("--json-schema", "{text}"), "is no JSON"),
        (("--grammar", "none.lark"), "--grammar: none.lark cannot be read"),
        (("--regex", ""), "--regex: it needs an expression"),
        (("--choices", ""), "--choices: choices needs at least two texts with commas between"),
        (("--choices", "yes,no,"), "--choices: choice 3 is empty"),
        (("--logit-bias", "the"), "--logit-bias: give TEXT=AMOUNT"),
        (("--preset", "none"), "none"),
        (("--template", "none"), "none"),
        (("--template", "review"), "-V: "),
        (("--template", "review", "-V", "code"), "-V: 'code' is not NAME=VALUE"),
    ],
)
@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_what_a_flag_names_and_cannot_be_used_is_a_result(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], said: str, output: str
) -> None:
    (tmp_path / "text").write_text("{no JSON")
    filled = [each.replace("{text}", str(tmp_path / "text")) for each in arguments]
    printed = run("-p", "hi", "--output", output, *filled).splitlines()
    error = json.loads(printed[0])["error"]
    assert error["kind"] == "config"
    assert said in error["message"]
    assert "Usage" not in "".join(printed)


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize(("kind", "ending", "good"), [("prompts", "md", "Hi."), ("presets", "toml", "")])
@pytest.mark.parametrize(
    ("files", "code"), [((), 0), (("good",), 0), (("bad",), 1), (("good", "bad"), 1), (("bad", "worse"), 1)]
)
def test_a_list_that_leaves_a_file_out_has_failed_in_part(
    own_folders: Path, kind: str, ending: str, good: str, files: tuple[str, ...], code: int, output: str
) -> None:
    folder = own_folders / "config" / kind
    folder.mkdir(parents=True)
    for name in files:
        (folder / f"{name}.{ending}").write_text(good if name == "good" else "+++\n")
    done = program.run(kind, "list", "--output", output)
    assert done.returncode == code, done.stderr
    assert ("good" in done.stdout) == ("good" in files)
    assert all((f"{name}.{ending}" in done.stderr) == (name != "good") for name in files)


@pytest.mark.parametrize(("stdin", "said"), [("", "the prompt is empty"), ("\0\1\2", "stdin cannot be sent")])
def test_a_prompt_that_cannot_be_sent_is_a_result(run: Run, stdin: str, said: str) -> None:
    printed = run("-p", "-", "--output", "json", stdin=stdin)
    assert said in json.loads(printed.splitlines()[0])["error"]["message"]


@pytest.mark.parametrize("count", ["0", "33"])
def test_the_range_of_candidates_is_named_in_words(run: Run, count: str) -> None:
    assert f"{count} is not in the range 1 to 32." in " ".join(
        str(run("-p", "hi", "--candidates", count)).split()
    )


def test_a_constraint_that_no_engine_can_read_ends_the_start(own_folders: Path) -> None:
    done = program.run("-p", "hi", "--output", "json", "--regex", "[a", "--no-save")
    assert done.returncode == 2
    message = json.loads(done.stdout)["error"]["message"]
    assert message.startswith("--regex: The regex cannot be used: ")
    assert done.stderr.startswith(f"ttchat-tui: {message}")
