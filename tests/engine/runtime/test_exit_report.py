"""The error that a person reads after the engine's process has ended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from ttchat_tui.engine.runtime.exit_report import exit_report


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


def message_of(
    log: Path, written: bytes, status: int = -signal.SIGABRT, start: int = 0, killed_for: str = ""
) -> str:
    log.write_bytes(written)
    return str(exit_report(status, killed_for, log, start))


def test_a_crash_is_named_with_the_last_line_before_pythons_report(log: Path) -> None:
    written = b"first\nTT_FATAL: no device\n\nFatal Python error: Aborted\n\nCurrent thread 0x1:\n  File x\n"
    assert message_of(log, written) == "The engine's process crashed (SIGABRT): TT_FATAL: no device."


def test_lines_of_logging_are_not_quoted(log: Path) -> None:
    assert message_of(log, b"words\n2026-11-22 10:00:00,123 INFO engine: started\n").endswith(
        "(SIGABRT): words."
    )


def test_output_of_an_earlier_process_is_not_quoted(log: Path) -> None:
    assert message_of(log, b"old words\n", start=10) == "The engine's process crashed (SIGABRT)."


def test_control_bytes_and_invalid_utf8_in_the_log_are_not_shown(log: Path) -> None:
    message = message_of(log, b"\x1b[31mred\x07 \xff\xfe\xe2\x80\xae\n")
    assert message.endswith("[31mred \ufffd\ufffd.")


def test_a_very_long_line_is_cut(log: Path) -> None:
    assert len(message_of(log, b"x" * 100_000)) < 300


def test_a_kill_that_was_not_ours_hints_at_memory(log: Path) -> None:
    assert "memory" in message_of(log, b"", status=-signal.SIGKILL)


def test_a_file_that_is_cut_short_while_it_is_in_use_is_hinted_at(log: Path) -> None:
    message = message_of(log, b"words", status=-signal.SIGBUS)
    assert "cut short" in message
    assert message.endswith(": words.")


def test_our_own_kill_gives_its_reason(log: Path) -> None:
    message = message_of(log, b"words", status=-signal.SIGKILL, killed_for="It made no progress for 60 s.")
    assert message == "It made no progress for 60 s."


def test_an_unknown_signal_and_a_missing_log_are_no_errors(log: Path) -> None:
    assert str(exit_report(-60, "", log, 0)) == "The engine's process crashed (signal 60)."


def test_the_cure_includes_the_advice_for_this_kind_of_engine(log: Path) -> None:
    log.write_bytes(b"TT_FATAL: no device\n --- tt::open()\n")
    cure = exit_report(-signal.SIGABRT, "", log, 0, lambda output: f"It said {output!r}: reset.").info.cure
    assert cure == f"It said 'TT_FATAL: no device': reset. The engine's log: {log}"
    assert exit_report(1, "", log, 0).info.cure == f"Load the model again. The engine's log: {log}"


def test_the_error_above_a_native_backtrace_is_quoted(log: Path) -> None:
    written = b"TT_FATAL: no device\nbacktrace:\n --- tt::open()\n --- main\n"
    assert message_of(log, written).endswith("(SIGABRT): TT_FATAL: no device.")


def test_a_process_that_ran_out_of_memory_is_reported_as_such(log: Path) -> None:
    log.write_bytes(b"Traceback (most recent call last):\nMemoryError\n")
    died = exit_report(1, "", log, 0)
    assert died.info.message == "There is not enough memory for the engine."
    assert "smaller model" in died.info.cure
