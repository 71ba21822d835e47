"""Who streams into a reply: enough to tell, at a later start, whether that process still lives."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable

SILENCE_S: Final = 60.0
"""A writer that cannot be looked at (other host, other container, before a reboot) counts as gone after so long
without a checkpoint; a live one writes every second once tokens come."""


class Writer(msgspec.Struct, frozen=True, array_like=True):
    """One process for life: a pid alone is given out again."""

    machine: str
    """Boot and pid namespace: where the pid means something."""
    pid: int
    started: str
    """When the process started, in the kernel's own unit; empty where the kernel does not say."""

    def encoded(self) -> str:
        """As stored with a row."""
        return msgspec.json.encode(self).decode()


def this_process() -> Writer:
    """The identity of the calling process (asked anew each time: a fork must not inherit it)."""
    pid = os.getpid()
    return Writer(_machine(), pid, _start_time(pid))


def is_gone(encoded: str, silent_s: float) -> bool:
    """Whether the writer of a row has ended. `silent_s`: how long ago, in seconds, it last wrote."""
    try:
        writer = msgspec.json.decode(encoded, type=decodable(Writer))
    except msgspec.DecodeError:
        return True
    if writer.machine != _machine():
        return silent_s > SILENCE_S
    return not _exists(writer.pid) or _start_time(writer.pid) != writer.started


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:  # no /proc (macOS): one pid space for the whole host
        return socket.gethostname()
    return f"{boot}/{namespace}"


def _exists(pid: int) -> bool:
    if pid <= 0:  # a group of processes, and never a writer
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # Fields 3 and 22 of proc_pid_stat(5); field 2, the name in brackets, may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return "" if state in "ZX" else started  # a zombie writes no more
