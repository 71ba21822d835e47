"""The error for an engine process that ended, from its exit status and its last line of output."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Final

from ttchat_tui.engine.base import EngineDied
from ttchat_tui.engine.runtime.error_info import NO_MEMORY, is_out_of_memory

_TAIL_BYTES: Final = 16_384
_MAX_QUOTE: Final = 200
_FAULTHANDLER: Final = ("Fatal Python error:", "Timeout (", "Thread 0x", "Current thread 0x")
"""Python's own report of a crash begins with one of these: the line before it is more useful."""
_OWN_LOGGING: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
"""The beginning of a line from `logging`. Those are skipped: they are progress, and the parent may write to the same file."""


def exit_report(status: int, killed_for: str, log_path: Path, log_start: int, advice: str = "") -> EngineDied:
    """The error for a child that ended.

    Args:
        status: exit status; negative for a signal, as in `subprocess`.
        killed_for: the reason if we killed it; else empty.
        log_path: the file with its output.
        log_start: size of that file before the child started, in bytes.
        advice: what this kind of engine needs besides a new load; a sentence.
    """
    last_line = _last_line(log_path, log_start)
    if killed_for:
        message = f"The engine stopped answering: it {killed_for}."
    elif status == -signal.SIGKILL:
        message = "The engine's process was killed (SIGKILL). The system does that if memory runs out."
    elif status < 0:
        message = f"The engine's process crashed ({_signal_name(-status)}){_quote(last_line)}"
    elif is_out_of_memory(last_line):
        return EngineDied(NO_MEMORY.message, cure=f"{NO_MEMORY.cure} The engine's log: {log_path}")
    else:
        message = f"The engine's process ended by itself (exit status {status}){_quote(last_line)}"
    cures = ("Load the model again.", advice, f"The engine's log: {log_path}")
    return EngineDied(message, cure=" ".join(cure for cure in cures if cure))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quote(last_line: str) -> str:
    return f": {last_line.rstrip('.')}." if last_line else "."


def _last_line(log_path: Path, log_start: int) -> str:
    """The child's last line of output before Python's own report of the crash, printable characters only."""
    try:
        with log_path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(log_start, size - _TAIL_BYTES))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    last_line = ""
    for line in tail.splitlines():
        if line.startswith(_FAULTHANDLER):
            break
        if _OWN_LOGGING.match(line):
            continue
        text = "".join(character for character in line if character.isprintable()).strip()
        last_line = text or last_line
    return last_line[:_MAX_QUOTE]
