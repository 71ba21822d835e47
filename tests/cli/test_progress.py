"""Load progress where stderr is no terminal: nothing, then a line a phase, which never changes."""

from __future__ import annotations

import sys

import pytest

from ttchat_tui.cli.progress import SILENT_S, ProgressLine
from ttchat_tui.domain.events import LoadProgress


def test_a_load_without_a_terminal_says_nothing_unless_it_takes_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    line = ProgressLine(lambda: now)
    line(LoadProgress(phase="start"))
    now = SILENT_S - 1
    line(LoadProgress(phase="download", done=0, total=98_000_000, unit="bytes"))
    assert capsys.readouterr().err == ""
    now = SILENT_S + 1
    line(LoadProgress(phase="download", done=49_000_000, total=98_000_000, unit="bytes"))
    for done in range(3):
        line(LoadProgress(phase="convert", done=done, total=2, unit="layers"))
    line(LoadProgress(phase="warm up", done=0, total=2, unit="steps"))
    line.close()
    assert capsys.readouterr().err.splitlines() == [
        "ttchat-tui: loading: download 50 % of 98 MB",
        "ttchat-tui: loading: convert",
        "ttchat-tui: loading: warm up",
    ]


def test_a_count_says_what_is_done_with_the_tokens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    line = ProgressLine(lambda: now)
    line.count("scoring", 1, 4000)
    assert capsys.readouterr().err == ""
    now = SILENT_S
    for done in (1024, 2048, 4000):
        line.count("scoring", done, 4000)
    assert capsys.readouterr().err == "ttchat-tui: scoring: 4,000 tokens\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ProgressLine(lambda: now).count("scoring", 1024, 4000)
    assert "scoring: 1,024 of 4,000 tokens" in capsys.readouterr().err
