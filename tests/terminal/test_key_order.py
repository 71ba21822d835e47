"""Keys take effect in the order typed, however the terminal delivers them: in one write, in pieces, during a reply."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.patience import Patience
from tests.size import sized
from tests.terminal.pty_app import PtyApp
from ttchat_tui.storage.opening import open_store

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PACED_APP = ("-m", "benchmarks.paced_app")
BACKSPACE, DELETE, ENTER, LEFT, RIGHT, HOME, END = (
    "\x7f",
    "\x1b[3~",
    "\r",
    "\x1b[D",
    "\x1b[C",
    "\x1b[H",
    "\x1b[F",
)
CTRL_F, CTRL_K, CTRL_L, CTRL_N, CTRL_O, CTRL_T, CTRL_U, CTRL_W = "\x06\x0b\x0c\x0e\x0f\x14\x15\x17"
ESC, F1, F2 = "\x1b[27u", "\x1bOP", "\x1bOQ"
"""Escape as the kitty protocol has it: of the other one nobody can tell whether it is alt with the next key."""

ELSEWHERE = (
    "",
    CTRL_T,
    f"{CTRL_F}xy{BACKSPACE}z{ESC}",
    f"{CTRL_O}ab{ESC}",
    f"{F1}{ESC}",
    f"{CTRL_T}{CTRL_L}",
)
"""To another place and, some by the next letter, back to the prompt."""
EDITS = (BACKSPACE, DELETE, LEFT, RIGHT, HOME, END, CTRL_U, CTRL_K)


def edited(keys: list[str]) -> str:
    """The text of an empty line after these keys, one at a time."""
    text, at = "", 0
    for key in keys:
        if key in ELSEWHERE:
            continue
        if key == BACKSPACE:
            text, at = text[: max(0, at - 1)] + text[at:], max(0, at - 1)
        elif key == DELETE:
            text = text[:at] + text[at + 1 :]
        elif key == CTRL_U:
            text, at = text[at:], 0
        elif key == CTRL_K:
            text = text[:at]
        elif key in (LEFT, RIGHT, HOME, END):
            at = {LEFT: max(0, at - 1), RIGHT: min(len(text), at + 1), HOME: 0, END: len(text)}[key]
        else:
            text, at = text[:at] + key + text[at:], at + len(key)
    return text


class Typist:
    """The app with the benchmarks' engine, and its database as seen by another process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.app = PtyApp(
            folder,
            size=(79, 30),
            program=PACED_APP,
            cwd=str(ROOT),
            is_forked=True,
            TTCHAT_BENCH_TOKENS_PER_S="40",
        )
        self.app.until("● ready")

    def kept(self) -> list[tuple[str, list[str], str]]:
        """Title, what the user said, and draft of each conversation, the oldest first."""
        store = open_store(self.folder / "data" / "conversations.db")
        try:
            found = sorted(store.conversations(limit=1000), key=lambda each: each.id)
            return [
                (
                    each.title,
                    [m.content for m in store.path(each.head_id) if m.role == "user"] if each.head_id else [],
                    each.draft,
                )
                for each in found
            ]
        finally:
            store.close()

    def said(self) -> list[list[str]]:
        return [said for _, said, _ in self.kept()]

    def until_said(self, wanted: list[list[str]]) -> None:
        self.until(lambda: self.said(), wanted)

    def until(self, find: Callable[[], object], wanted: object) -> None:
        patience = Patience(60.0)
        while (found := find()) != wanted:
            assert self.app.read(0.02)
            if patience.is_out():
                raise AssertionError(f"{found!r} instead of {wanted!r}\n{self.app.text()}")


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    typist = Typist(tmp_path)
    yield typist
    typist.app.close()


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        (f"teh{BACKSPACE * 2}he cat", "the cat"),  # codespell:ignore
        (f"one two{CTRL_W}three", "one three"),
        (f"vie{BACKSPACE * 2}iê{BACKSPACE}ệt", "việt"),  # codespell:ignore
        (f"{LEFT.join('tset')}{END}", "test"),
        (f"ab{HOME}c{END}d{LEFT * 2}e", "caebd"),
    ],
)
def test_input_in_one_write_is_sent_as_typed(typist: Typist, typed: str, sent: str) -> None:
    typist.app.type(typed + ENTER)
    typist.until_said([[sent]])


def test_a_message_right_behind_ctrl_n_begins_the_new_conversation(typist: Typist) -> None:
    typist.app.type(f"first{ENTER}")
    typist.app.until("generating")
    typist.app.type(ESC)
    typist.app.until("● ready")
    typist.app.type(f"{CTRL_N}second{ENTER}")
    typist.until_said([["first"], ["second"]])
    typist.app.type(f"{F2}{CTRL_U}Another{BACKSPACE * 2}{ENTER}then a draft")
    typist.until(lambda: typist.kept()[-1][::2], ("Anoth", "then a draft"))


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Typist]:
    """A reply runs for as long as it lasts."""
    typist = Typist(tmp_path_factory.mktemp("typist"))
    typist.app.type(f"go{ENTER}")
    typist.app.until("generating")
    yield typist
    typist.app.close()


@settings(
    max_examples=sized(6, 200),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.generate],
)
@given(
    keys=st.lists(st.sampled_from([*"abcxyzéế中", *EDITS, *EDITS, *ELSEWHERE[1:]]), min_size=5, max_size=40),
    cuts=st.lists(st.integers(1, 60), max_size=4),
)
def test_any_split_of_keys_gives_the_same_result(streaming: Typist, keys: list[str], cuts: list[int]) -> None:
    streaming.app.type(f"{CTRL_L}{END}{CTRL_U}")
    typed = "".join([*keys, CTRL_L, END, "#"]).encode()
    for cut in cuts:
        os.write(streaming.app.process.fd, typed[:cut])
        typed = typed[cut:]
    os.write(streaming.app.process.fd, typed)
    streaming.until(lambda: streaming.kept()[0][2], edited(keys) + "#")
