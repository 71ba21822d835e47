"""The short way in does what the long way would have done."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ttchat_tui.cli import chat
from ttchat_tui.cli.entry import is_bare
from ttchat_tui.cli.main import app


def test_no_arguments_mean_what_the_parser_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[chat.Invocation] = []

    def run(invocation: chat.Invocation) -> int:
        parsed.append(invocation)
        return 0

    monkeypatch.setattr(chat, "run", run)
    assert CliRunner().invoke(app, []).exit_code == 0
    assert parsed == [chat.bare_invocation(os.environ)]


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
