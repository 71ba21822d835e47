"""Standard output: a reader that goes away is no error, a full disk is one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest


def run(arguments: Sequence[str], stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ttchat_tui", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments", [["models", "list"], ["paths", "--output", "json"], ["doctor"], ["--help"]], ids=" ".join
)
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(arguments, writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_gone_hides_no_usage_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(["--nonsense"], writer)
    os.close(writer)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_reported_in_one_line() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = run(["models", "list"], full)
    os.close(full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr


@pytest.mark.parametrize(("closed", "left"), [("<&-", 2), (">&-", 1), ("2>&-", 1), ("<&- >&- 2>&-", 0)])
def test_a_closed_stream_works_like_dev_null(closed: str, left: int) -> None:
    """Nothing is said of it, and what is opened later does not get its descriptor."""
    script = (
        "import os, sys; from ttchat_tui.cli.standard_output import ensure_streams; ensure_streams(); "
        "opened = os.open('/dev/null', os.O_RDONLY); print('said'); print('said', file=sys.stderr); "
        "sys.stdin.read(); sys.exit(opened)"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout + done.stderr == b"said\n" * left


def test_a_command_with_all_streams_closed_ends_well() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m ttchat_tui models list <&- >&- 2>&-', sys.executable],
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
