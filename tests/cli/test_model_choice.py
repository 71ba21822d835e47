"""A name that no model can have is a usage error: one line with the place that gave it, and exit code 2."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.program import run
from ttchat_tui.cli.model_choice import require_possible
from ttchat_tui.config.schema import Config, ModelSettings
from ttchat_tui.models.choice import ModelChoice, NameSource


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("name", ["nonsense", "./nowhere", "nowhere.gguf", "a/b/c"])
def test_a_flag_that_names_no_model_is_a_usage_error(name: str) -> None:
    line = refused(run("--model", name, "-p", "Hello"))
    assert line.startswith("ttchat-tui: --model: ")
    assert Path(name).name in line


@pytest.mark.parametrize(
    "wrong",
    [
        ("--model", "nonsense"),
        ("--temperature", "5"),
        ("--config", "/dev/null/none"),
        ("--theme", "nonsense"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("format", "event"), [("json", None), ("jsonl", "done")])
def test_a_usage_error_is_the_result_in_json(wrong: tuple[str, str], format: str, event: str | None) -> None:
    done = run(*wrong, "-p", "Hello", "--output", format)
    assert done.returncode == 2
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (result["text"], result["finish_reason"], result.get("event")) == ("", "error", event)
    assert result["error"]["message"] in done.stderr


@pytest.mark.parametrize("variable", ["TTCHAT_MODEL", "TTCHAT_MODEL__NAME", "HF_MODEL"])
def test_a_variable_that_names_no_model_is_reported_by_its_name(variable: str) -> None:
    line = refused(run("-p", "Hello", before=None, **{variable: "smolm2-135m-instruct"}))
    assert line.startswith(f"ttchat-tui: {variable}: No model is called 'smolm2-135m-instruct'. Did you mean")


def test_a_file_that_names_no_model_is_reported_with_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "config" / "config.toml"
    file.parent.mkdir()
    file.write_text('[model]\nname = "nonsense"\n')
    assert refused(run("--plain")).startswith(f"ttchat-tui: {file}: model.name: No model is called")


@pytest.mark.parametrize(
    "arguments",
    [("bench", "--model"), ("models", "path"), ("models", "pull"), ("models", "rm")],
    ids=" ".join,
)
def test_a_subcommand_refuses_such_a_name_too(arguments: tuple[str, ...]) -> None:
    assert "No model is called 'nonsense'" in refused(run(*arguments, "nonsense"))


def test_a_model_that_cannot_be_fetched_is_no_usage_error() -> None:
    done = run("--model", "someone/some-model", "-p", "Hello", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "is not on this machine yet" in done.stderr


@pytest.mark.parametrize(
    ("name", "place", "engine"),
    [
        ("a name of theirs", "--model", "remote"),
        ("remote:a name of theirs", "--model", "auto"),
        ("/gone/since.gguf", "last used", "auto"),
    ],
)
def test_what_a_server_or_the_app_itself_names_is_left_to_the_load(
    tmp_path: Path, name: str, place: NameSource, engine: str
) -> None:
    config = Config(model=ModelSettings(engine=engine))
    require_possible(ModelChoice(name, place), config, tmp_path, tmp_path, {})


def test_a_path_with_half_a_model_is_left_to_the_load(tmp_path: Path) -> None:
    require_possible(ModelChoice(str(tmp_path), "--model"), Config(), tmp_path, tmp_path, {})
