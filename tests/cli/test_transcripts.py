"""`export` with what a person may get wrong: one line, and an exit code that a script can go by."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ttchat_tui.storage.opening import open_store


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ttchat_tui", "export", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=dict(os.environ),
    )


@pytest.fixture
def number(own_folders: Path) -> int:
    """That of the one conversation there is."""
    store = open_store(own_folders / "data" / "conversations.db")
    try:
        return store.create_conversation().id
    finally:
        store.close()


@pytest.mark.parametrize("wanted", ["99", "0"])
def test_a_number_that_there_is_not_is_a_usage_error(number: int, wanted: str) -> None:
    done = export(wanted)
    assert (done.returncode, done.stdout) == (2, "")
    said = f"There is no conversation {wanted}. `ttchat-tui export --list` shows the numbers."
    assert done.stderr == f"ttchat-tui: {said}\n"


def test_all_conversations_are_not_one_of_them(number: int) -> None:
    done = export(str(number), "--all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--all: it goes without a number" in done.stderr


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("--all",), 1), (("--list",), 0)])
def test_where_there_is_no_conversation_yet_it_is_said(arguments: tuple[str, ...], code: int) -> None:
    done = export(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (
        code,
        "",
        "ttchat-tui: There is no conversation yet.\n",
    )
