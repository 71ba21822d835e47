"""How the engine's process ended, in words: from its exit status and from what it wrote last."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Final

from ttchat_tui.engine.base import EngineDied
from ttchat_tui.engine.runtime.error_info import NO_MEMORY, is_out_of_memory

_TAIL_BYTES: Final = 16_384
_LONGEST_QUOTE: Final = 200
_FAULTHANDLER: Final = ("Fatal Python error:", "Timeout (", "Thread 0x", "Current thread 0x")
"""What Python itself writes at a crash: the line before says more to a person."""
_OWN_LOGGING: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
"""How lines of `logging` begin: steps on the way, of this process as well where the two share a file."""


def obituary(status: int, killed_for: str, log_path: Path, log_start: int, advice: str = "") -> EngineDied:
    """The error for a child that ended.

    Args:
        status: exit status; negative for a signal, as `subprocess` has it.
        killed_for: why we killed it ourselves; empty if we did not.
        log_path: where its output went.
        log_start: size of the log before this child, in bytes.
        advice: what this kind of engine wants besides a new load; a sentence.
    """
    last_words = _last_words(log_path, log_start)
    if killed_for:
        message = f"The engine stopped answering: it {killed_for}."
    elif status == -signal.SIGKILL:
        message = "The engine's process was killed (SIGKILL), by the system if memory ran out."
    elif status < 0:
        message = f"The engine's process crashed ({_signal_name(-status)}){_quote(last_words)}"
    elif is_out_of_memory(last_words):
        return EngineDied(NO_MEMORY.message, cure=f"{NO_MEMORY.cure} The engine's log: {log_path}")
    else:
        message = f"The engine's process ended by itself (exit status {status}){_quote(last_words)}"
    cures = ("Load the model again.", advice, f"The engine's log: {log_path}")
    return EngineDied(message, cure=" ".join(cure for cure in cures if cure))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _quote(last_words: str) -> str:
    return f": {last_words.rstrip('.')}." if last_words else "."


def _last_words(log_path: Path, log_start: int) -> str:
    """The last line that the child wrote before Python's own report of the crash, printable characters only."""
    try:
        with log_path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(log_start, size - _TAIL_BYTES))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    words = ""
    for line in tail.splitlines():
        if line.startswith(_FAULTHANDLER):
            break
        if _OWN_LOGGING.match(line):
            continue
        words = "".join(character for character in line if character.isprintable()).strip() or words
    return words[:_LONGEST_QUOTE]
