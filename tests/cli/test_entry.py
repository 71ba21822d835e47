"""The short start does what the full parser would do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from ttchat_tui.cli import chat
from ttchat_tui.cli.entry import is_bare
from ttchat_tui.cli.invocation import Invocation, bare_invocation
from ttchat_tui.cli.main import app


def test_no_arguments_mean_what_the_parser_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Invocation] = []

    def run(invocation: Invocation) -> int:
        parsed.append(invocation)
        return 0

    monkeypatch.setattr(chat, "run", run)
    assert CliRunner().invoke(app, []).exit_code == 0
    assert parsed == [bare_invocation(os.environ)]


def test_only_a_plain_start_takes_the_short_way() -> None:
    assert is_bare(["ttchat-tui"], {})
    assert not is_bare(["ttchat-tui", "-c"], {})
    assert not is_bare(["ttchat-tui"], {"_TTCHAT_TUI_COMPLETE": "complete_bash"})


def test_an_unknown_flag_still_ends_with_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ttchat_tui", "--nonsense"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    assert "--nonsense" in done.stderr


@pytest.mark.parametrize(
    "module", ["typing", "ttchat_tui.cli.entry", "ttchat_tui.config.load", "ttchat_tui.engine.runtime.host"]
)
def test_ctrl_c_during_the_imports_ends_it_silently(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        dedent(f"""
            import os, signal, sys

            class Interrupter:
                def find_spec(self, name, path=None, target=None):
                    if name == {module!r}:
                        os.kill(os.getpid(), signal.SIGINT)

            sys.meta_path.insert(0, Interrupter())
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "ttchat_tui", "models", "list"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        # A shell's background jobs ignore SIGINT, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    ("terminals", "said"),
    [
        ({0, 1}, "this terminal has no full screen"),
        ({0}, "stdout is no terminal"),
        ({1}, ""),
        (set[int](), ""),
    ],
)
def test_only_a_person_hears_why_the_chat_runs_line_by_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminals: set[int], said: str
) -> None:
    monkeypatch.setattr(chat.terminal, "is_full_screen_possible", lambda: False)
    monkeypatch.setattr(chat.terminal, "is_terminal", lambda fd: fd in terminals)
    monkeypatch.setattr(chat, "_run", lambda *_arguments: 0)
    assert chat.run(bare_invocation({})) == 0
    error = capsys.readouterr().err
    assert said in error
    assert ("line by line" in error) == bool(said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "1.5"], "'1.5' is not a whole number"),
        (["--temperature", "hot"], "'hot' is not a number"),
        (["bench", "--tokens", "many"], "'many' is not a whole number"),
    ],
)
def test_a_wrong_number_on_the_command_line_is_named_in_words(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_what_the_parser_writes_has_no_colour_which_standard_output_would_show_as_codes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    said = CliRunner().invoke(app, ["--install-completion"], prog_name="ttchat-tui", color=True).output
    assert said.startswith(f"bash completion installed in {tmp_path}")
