"""`ttchat-tui score`: the probability of each token of a text, as figures, JSON or tints."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.fakes import Script, ScriptedEngine
from ttchat_tui.cli import chat, score, token_lines
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.domain.model_spec import ModelSpec

TEXT = "One two \x1b[31mthree four.\n"
Run = Callable[..., Result]


@pytest.fixture
def run(own_folders: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    def command(*arguments: str, text: str | bytes = TEXT, logprobs: bool = True) -> Result:
        def alone(_invocation: Invocation):
            engine = ScriptedEngine(Script(logprobs=logprobs))
            return engine, lambda _report: ModelSpec(name="scripted")

        monkeypatch.setattr(chat, "engine_alone", alone)
        return CliRunner().invoke(app, ["score", *arguments], input=text)

    return command


def test_the_figures_of_a_text_from_a_file_or_stdin(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text(TEXT, encoding="utf-8")
    result = run(str(file))
    assert result.exit_code == 0
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if not line.startswith("most"))
    mean = -(1 + 1 + 2 + 1 + 1) * math.log(2) / 5
    assert rows["model"] == "scripted · scripted"
    assert rows["tokens"] == "5"
    assert rows["perplexity"] == f"{math.exp(-mean):.2f}"
    assert rows["log-probability"] == f"{mean:.3f} nats a token on average"
    assert "most probable    80.0% of the tokens" in result.stdout
    assert run("-").stdout == result.stdout
    assert "\x1b" not in result.stdout


def test_the_json_has_every_token(run: Run) -> None:
    found = json.loads(run("-", "--output", "json", "--alternatives", "2").stdout)
    assert found["token_count"] == 5
    assert found["window_stride"] == found["context_length"] // 2
    assert found["perplexity"] == pytest.approx(math.exp(-found["mean_logprob"]))
    assert "".join(each["token"] for each in found["tokens"]) == TEXT
    third = found["tokens"][2]
    assert (third["rank"], third["logprob"]) == (2, pytest.approx(-2 * math.log(2)))
    assert [each["token"] for each in third["alternatives"]] == [" other0", third["token"]]


@pytest.mark.parametrize(("no_color", "style"), [("", "4;31"), ("1", "4")])
def test_a_terminal_shows_the_text_with_its_doubtful_tokens_tinted(
    run: Run, monkeypatch: pytest.MonkeyPatch, no_color: str, style: str
) -> None:
    monkeypatch.setattr(score, "is_tinted", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    output = run("-").stdout
    assert f"\x1b[{style}m" in output
    assert "␛[31m" in output, "the text's own escape is shown, not sent"
    assert "\x1b[31m" not in output
    assert ("\x1b[33m" in output) is (not no_color)
    assert "underlined: probability below 50%" in output


def test_tints_need_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    assert not token_lines.is_tinted()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "stdin is empty."),
        (b"abc\xe9", "stdin cannot be scored: it is not UTF-8 (byte 4 is 0xE9)."),
        (b"ELF\0\xe9", "stdin cannot be scored: it is not text (it has null bytes)."),
        ("abc".encode("utf-16"), "stdin cannot be scored: it is UTF-16, and only UTF-8 is read."),
    ],
)
def test_what_is_no_text_is_refused(run: Run, text: bytes, why: str) -> None:
    assert str(run("-", text=text).exception) == why


def test_an_engine_without_probabilities_says_what_to_use(run: Run) -> None:
    error = run("-", logprobs=False).exception
    assert "scripted does not give the probabilities" in str(error)


def test_progress_is_that_of_the_text(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[str, int, int]] = []
    monkeypatch.setattr(ProgressLine, "count", lambda _line, *count: counted.append(count))
    assert run("-").exit_code == 0
    assert counted == [("scoring", done, 5) for done in range(1, 6)]
