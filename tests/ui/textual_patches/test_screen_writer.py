"""Output to a terminal that is slow, non-blocking or gone, or whose descriptor number belongs to another file now."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ttchat_tui.ui.textual_patches import screen_writer
from ttchat_tui.ui.textual_patches.screen_writer import ScreenWriter

TEXT = "x" * 100_000


class OpenPty:
    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.file = os.fdopen(slave, "w")
        self.writer = ScreenWriter(self.file)
        self.writer.start()

    def read(self, count: int) -> int:
        got = 0
        while got < count:
            got += len(os.read(self.master, 65536))
        return got


@pytest.fixture
def terminal() -> Iterator[OpenPty]:
    made = OpenPty()
    yield made
    made.writer.stop()


def test_all_is_written_to_a_terminal_that_another_program_made_non_blocking(terminal: OpenPty) -> None:
    os.set_blocking(terminal.file.fileno(), False)
    terminal.writer.write(TEXT)
    assert terminal.read(len(TEXT)) == len(TEXT)
    terminal.writer.write("and on")
    assert terminal.read(6) == 6


def test_nothing_goes_to_a_file_that_got_the_descriptors_number(
    terminal: OpenPty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen_writer, "END_S", 0.01)
    terminal.writer.write(TEXT)
    terminal.writer.stop()
    assert terminal.writer.is_alive(), "nobody reads"
    number = terminal.file.fileno()
    terminal.file.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert other == number
    os.close(terminal.master)  # the terminal hangs up: the write returns
    terminal.writer.join()
    os.close(other)
    assert (tmp_path / "other").read_bytes() == b""


def test_an_unread_terminal_is_behind_and_a_read_one_is_not(terminal: OpenPty) -> None:
    terminal.writer.write(TEXT)
    for _ in range(40):
        terminal.writer.write("frame")
    assert terminal.writer.is_behind
    terminal.read(len(TEXT) + 200)
    assert not terminal.writer.is_behind


def test_a_signal_handler_may_write_in_the_midst_of_a_write() -> None:
    """As that of SIGTSTP does, which gives the terminal back to the shell."""
    with open(os.devnull, "w") as nowhere:
        writer, handled = ScreenWriter(nowhere), 0

        def write_too(_number: int, _frame: object) -> None:
            nonlocal handled
            handled += 1
            writer.write("from the handler")

        before = signal.signal(signal.SIGVTALRM, write_too)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0005, 0.0005)
        try:
            while handled < 25:
                writer.write("frame")
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(signal.SIGVTALRM, before)
        writer.start()
        writer.stop()
        writer.join()
