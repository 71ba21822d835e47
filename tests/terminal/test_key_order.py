"""Keys take effect in the order typed, however the terminal delivers them: in one write, in pieces, during a reply."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import Patience
from tests.terminal.pty_app import App
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(180)]

LAUNCHER = Path(__file__).parents[2] / "benchmarks" / "paced_app.py"
BACKSPACE, CTRL_W, ENTER, CTRL_N = "\x7f", "\x17", "\r", "\x0e"

LEFT, HOME, END, ESC = "\x1b[D", "\x1b[H", "\x1b[F", "\x1b"


class Typist:
    """The app with the benchmarks' engine, and its database as another process sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = App(folder, size=(79, 30), program=[str(LAUNCHER)], TTCHAT_BENCH_TOKENS_PER_S="40")
        self.app.until("● ready")

    def conversations(self) -> list[list[str]]:
        """What the user said, a list for each conversation, the oldest first."""
        store = open_store(self.folder / "data" / "conversations.db")
        try:
            found = sorted(store.conversations(limit=1000), key=lambda each: each.id)
            return [
                [m.content for m in store.path(each.head_id) if m.role == "user"] if each.head_id else []
                for each in found
            ]
        finally:
            store.close()

    def until_said(self, wanted: list[list[str]]) -> None:
        patience = Patience(30.0)
        while (found := self.conversations()) != wanted:
            assert self.app.read(0.05)
            if patience.is_out():
                raise AssertionError(f"{found} instead of {wanted}\n{self.app.text()}")

    def draft(self) -> str:
        """What stands in the prompt's first line."""
        rows = self.app.text().splitlines()
        top = max(i for i, row in enumerate(rows) if "╭" in row)
        return rows[top + 1].strip("│ ").strip()


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    typist = Typist(tmp_path)
    yield typist
    typist.app.close()


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (f"teh{BACKSPACE * 2}he cat", "the cat"),
        (f"one two{CTRL_W}three", "one three"),
        (f"vie{BACKSPACE * 2}iê{BACKSPACE}ệt", "việt"),
        (f"{LEFT.join('tset')}{END}", "test"),
        (f"ab{HOME}c{END}d{LEFT * 2}e", "caebd"),
    ],
)
def test_what_is_written_at_once_is_sent_as_it_was_typed(typist: Typist, typed: str, sent: str) -> None:
    typist.app.type(typed + ENTER)
    typist.until_said([[sent]])


def test_a_message_right_behind_ctrl_n_begins_the_new_conversation(typist: Typist) -> None:
    typist.app.type(f"first{ENTER}")
    typist.app.until("generating")
    typist.app.type(ESC)
    typist.app.until("● ready")
    typist.app.type(f"{CTRL_N}second{ENTER}")
    typist.until_said([["first"], ["second"]])
