"""CPU use of other programs during a measurement, which shows whether it was disturbed."""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS_S = os.sysconf("SC_CLK_TCK")


class ForeignLoad:
    """Counts from its creation. This process, `own` processes (ids) and all their children are not foreign."""

    def __init__(self, own: set[int]) -> None:
        self._own = own | {os.getpid()}
        self._began = time.monotonic()
        self._before_s = self._foreign_s()

    def share(self) -> float:
        """Mean number of cores that foreign programs used: 0.05 is a twentieth of one."""
        return (self._foreign_s() - self._before_s) / (time.monotonic() - self._began)

    def _foreign_s(self) -> float:
        return _busy_s() - sum(_process_s(pid) for pid in _with_children(self._own))


def _busy_s() -> float:
    """CPU seconds of the whole machine since boot: user, nice, system, irq, softirq, steal."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / _TICKS_S


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _process_s(pid: int) -> float:
    """CPU seconds of one process, and of its children that have ended."""
    try:
        return sum(map(int, _fields(pid)[11:15])) / _TICKS_S
    except OSError:
        return 0.0


def _with_children(pids: set[int]) -> set[int]:
    found = set(pids)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int(_fields(int(entry.name))[1]) in pids:
                    found.add(int(entry.name))
            except OSError:
                continue  # the process has ended
    return found
