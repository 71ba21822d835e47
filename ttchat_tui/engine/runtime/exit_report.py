"""The error for an engine process that ended, from its exit status and its last line of output."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ttchat_tui.engine.base import EngineDied
from ttchat_tui.engine.declaration import load_again
from ttchat_tui.engine.runtime.error_info import NO_MEMORY, is_out_of_memory

_TAIL_BYTES: Final = 16_384
_MAX_QUOTE: Final = 200
_FAULTHANDLER: Final = ("Fatal Python error:", "Timeout (", "Thread 0x", "Current thread 0x")
"""Python's own report of a crash begins with one of these: the line before it is more useful."""
_BACKTRACE: Final = ("backtrace:", "--- ")
"""Lines of tt-metal's backtraces begin with one of these; the error is above them."""
_OWN_LOGGING: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
"""The beginning of a line from `logging`. Those are skipped: they are progress, and the parent may write to the same file."""


def exit_report(
    status: int,
    killed_for: str,
    log_path: Path,
    log_start: int,
    advice: Callable[[str], str] = load_again,
) -> EngineDied:
    """The error for a child that ended.

    Args:
        status: exit status; negative for a signal, as in `subprocess`.
        killed_for: a sentence about the reason if we killed it; else empty.
        log_path: the file with its output.
        log_start: size of that file before the child started, in bytes.
        advice: what to do for this kind of engine after this last output (`EngineDeclaration.advice`).
    """
    lines = _last_lines(log_path, log_start)
    last_line = lines[-1][:_MAX_QUOTE] if lines else ""
    if killed_for:
        message = killed_for
    elif status == -signal.SIGKILL:
        message = "The engine's process was killed (SIGKILL). The system does that if memory runs out."
    elif status == -signal.SIGBUS:
        message = (
            "The engine's process was ended (SIGBUS). The system does that if a file in use is cut short (a model's that is"
            f" downloaded again, say), or if its disk fails{_quote(last_line)}"
        )
    elif status < 0:
        message = f"The engine's process crashed ({_signal_name(-status)}){_quote(last_line)}"
    elif is_out_of_memory(last_line):
        return EngineDied(NO_MEMORY.message, cure=f"{NO_MEMORY.cure} The engine's log: {log_path}")
    else:
        message = f"The engine's process ended by itself (exit status {status}){_quote(last_line)}"
    what_to_do = advice("\n".join(lines))
    return EngineDied(message, cure=f"{what_to_do} The engine's log: {log_path}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quote(last_line: str) -> str:
    return f": {last_line.rstrip('.')}." if last_line else "."


def _last_lines(log_path: Path, log_start: int) -> list[str]:
    """The child's last output before Python's own report of the crash: its lines without those that are empty, ours or
    frames of a backtrace, printable characters only."""
    try:
        with log_path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(log_start, size - _TAIL_BYTES))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines: list[str] = []
    for line in tail.splitlines():
        if line.startswith(_FAULTHANDLER):
            break
        if _OWN_LOGGING.match(line):
            continue
        text = "".join(character for character in line if character.isprintable()).strip()
        if text and not text.startswith(_BACKTRACE):
            lines.append(text)
    return lines
