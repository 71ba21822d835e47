"""The time-out of one step of a reply: a multiple of the longest step so far."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.events import TokenEvent

WARM_UP_TOKENS: Final = 4
"""Tokens before the time-out follows the pace: the first steps may compile."""

FACTOR: Final = 30.0
"""Time-out over longest step. Other programs on the same cores can slow a step down ten times."""


class StepTimeout:
    """A time-out that follows the pace of one reply."""

    def __init__(self, max_s: float | None, min_s: float) -> None:
        """The bounds, in seconds. `max_s` applies until the pace is known; None means no time-out at all."""
        self._max_s = max_s
        self._min_s = min_s
        self._tokens = 0
        self._last_s = 0.0
        self._longest_step_s = 0.0

    def observe(self, event: TokenEvent) -> None:
        """Measure the steps behind `event`. Rows of a batch step together, so only row 0 is measured."""
        if event.row != 0:
            return
        for time_s in event.times_s:
            if self._tokens:
                self._longest_step_s = max(self._longest_step_s, time_s - self._last_s)
            self._last_s = time_s
            self._tokens += 1

    def limit_s(self) -> float | None:
        """Seconds that the next step may take; None: no time-out."""
        if self._max_s is None or self._tokens < WARM_UP_TOKENS:
            return self._max_s
        return min(self._max_s, max(self._min_s, FACTOR * self._longest_step_s))
