"""Time limits of waits, for a machine that may stand still."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 1.0
"""Whoever waits looks at least so often. A longer gap was not waiting: the machine stood still (a frozen container, a
suspended virtual machine), and so did whatever is being waited for."""


class Patience:
    """A time limit for waits. A gap between two looks counts as at most `LOOK_S`."""

    def __init__(self, seconds: float) -> None:
        self.left_s = seconds
        self._looked_at = time.monotonic()

    def is_out(self) -> bool:
        now = time.monotonic()
        self.left_s -= min(now - self._looked_at, LOOK_S)
        self._looked_at = now
        return self.left_s <= 0


def wait_until(condition: Callable[[], bool], timeout_s: float, *, every_s: float = 0.01) -> bool:
    """Poll for what another process does without a signal."""
    patience = Patience(timeout_s)
    while not condition():
        if patience.is_out():
            return False
        time.sleep(every_s)
    return True
