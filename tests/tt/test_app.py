"""The command itself on a mock card: what it prints, where it writes, and that its death closes the card."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import wait_until
from tests.tt.conftest import CARDS, mock_card

pytestmark = pytest.mark.timeout(150)
_COMMAND = (sys.executable, "-m", "ttchat_tui")


def arguments(model: Path) -> list[str]:
    return [*_COMMAND, "--engine", "tt", "--model", str(model), "--context-length", "1024"]


def variables(card: str, checkout: Path) -> dict[str, str]:
    return {**os.environ, **mock_card(card), "TT_METAL_HOME": str(checkout), "TTCHAT_TT__TRACE": "false"}


@pytest.mark.parametrize("card", CARDS)
def test_a_prompt_is_answered_as_json_and_nothing_else_is_printed_or_left(
    card: str, checkout: Path, model_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()

    done = subprocess.run(
        [
            *arguments(model_folder),
            "-p",
            "Hello",
            "--max-tokens",
            "8",
            "--temperature",
            "0",
            "--output",
            "json",
        ],
        cwd=folder,
        env=variables(card, checkout),
        capture_output=True,
        text=True,
        timeout=140,
    )

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["text"] == "!" * 8
    assert answer["engine"].startswith("tt S5")
    assert not any(word in done.stderr for word in ("UMD", "Config{", "DEBUG", "Traceback")), done.stderr
    assert list(folder.iterdir()) == []
    log = (tmp_path / "state" / "engine.log").read_text(errors="replace")
    assert "the card is closed" in log


def test_when_the_app_is_killed_its_engine_closes_the_card_and_ends(
    checkout: Path, model_folder: Path, tmp_path: Path
) -> None:
    log = tmp_path / "state" / "engine.log"
    app = subprocess.Popen(
        [*arguments(model_folder), "--plain", "--temperature", "0"],
        env=variables("wormhole_n150", checkout),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert app.stdin is not None
    app.stdin.write(b"Hello\n")
    app.stdin.flush()
    try:
        assert app.stdout is not None
        said = b""
        while b"!!!" not in said:  # the reply streams: the model is on the card, and a step is under way
            piece = os.read(app.stdout.fileno(), 4096)
            assert piece, said
            said += piece
        engines = _descendants(app.pid)
        assert engines
    finally:
        app.send_signal(signal.SIGKILL)
        app.wait()
        app.stdin.close()

    assert wait_until(lambda: not any(_runs(pid) for pid in engines), timeout_s=40)
    said_last = log.read_text(errors="replace")
    assert "the card is closed" in said_last
    assert "did not close within" not in said_last


def _descendants(pid: int) -> list[int]:
    """Children of any thread of the process, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
