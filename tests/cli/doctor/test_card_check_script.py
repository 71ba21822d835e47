"""`scripts/card-check` goes as far as it can without a card, says so, and keeps secrets out of its report."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "card-check"
APP = """#!/bin/sh
echo "ran $* in $HOME with $HF_TOKEN"
"""


@pytest.mark.skipif(Path("/dev/tenstorrent").exists(), reason="there is a card: it would be used for an hour")
def test_without_a_card_it_runs_what_needs_none_and_leaves_a_report(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.write_text(APP)
    app.chmod(0o755)
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": "/home/somebody",
        "HF_TOKEN": "hf_Secret123",
        "TTCHAT_TUI": str(app),
    }
    done = subprocess.run([SCRIPT], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3, done.stderr
    (report,) = tmp_path.glob("card-check-*.txt")
    text = report.read_text()
    assert "ran --version" in text
    assert "ran doctor" in text
    assert "No card" in text
    assert "bench" not in text
    assert "Secret123" not in text
    assert "somebody" not in text
