"""Load progress where stderr is no terminal: a line a phase, which never changes."""

from __future__ import annotations

import pytest

from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.domain.events import LoadProgress


def test_each_phase_has_one_line_without_a_percentage(capsys: pytest.CaptureFixture[str]) -> None:
    line = ProgressLine()
    line(LoadProgress(phase="download", done=0, total=98_000_000, unit="bytes"))
    for done in range(3):
        line(LoadProgress(phase="convert", done=done, total=2, unit="layers"))
    line(LoadProgress(phase="warm up", done=0, total=2, unit="steps"))
    line.close()
    assert capsys.readouterr().err.splitlines() == ["download 0 % of 98 MB", "convert", "warm up"]
