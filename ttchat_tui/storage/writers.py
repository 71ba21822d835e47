"""The process that writes a reply, identified so that a later start can see whether it is still alive."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable

SILENCE_S: Final = 60.0
"""A writer that cannot be checked (another host or container, before a reboot) counts as ended after this long without a
checkpoint. A live one writes every second while tokens arrive."""


class Writer(msgspec.Struct, frozen=True, array_like=True):
    """One process. A pid alone is not enough: pids are reused."""

    machine: str
    """Boot and pid namespace in which the pid is valid."""
    pid: int
    started: str
    """Start time in the kernel's own unit; empty if unknown."""

    def encoded(self) -> str:
        """As stored with a row."""
        return msgspec.json.encode(self).decode()


def this_process() -> Writer:
    """The calling process. Read at each call: a fork must not inherit it."""
    pid = os.getpid()
    return Writer(_machine(), pid, _start_time(pid))


def has_writer_ended(encoded: str, silent_s: float) -> bool:
    """Whether the writer of a row has ended. `silent_s`: seconds since it last wrote."""
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
    if pid <= 0:  # kill() takes these for process groups
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
    return "" if state in "ZX" else started  # a zombie has ended
