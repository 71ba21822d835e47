"""How long one step of a reply may take before the engine counts as hung: much longer than its steps took so far."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.events import TokenEvent

KNOWN_AFTER: Final = 4
"""Tokens after which the pace is known: the first steps may compile."""

TIMES: Final = 30.0
"""So many times the longest step: other programs that take the cores cost a factor of ten."""


class StepPatience:
    """A limit that follows the pace of one reply."""

    def __init__(self, longest_s: float | None, least_s: float) -> None:
        """`longest_s` holds while the pace is not known (None: no limit at any time); never less than `least_s`."""
        self._longest_s = longest_s
        self._least_s = least_s
        self._tokens = 0
        self._last_s = 0.0
        self._longest_step_s = 0.0

    def saw(self, event: TokenEvent) -> None:
        """Rows of a batch step together: row 0 tells the pace, as long as it goes on."""
        if event.row != 0:
            return
        for time_s in event.times_s:
            if self._tokens:
                self._longest_step_s = max(self._longest_step_s, time_s - self._last_s)
            self._last_s = time_s
            self._tokens += 1

    def limit_s(self) -> float | None:
        """Seconds that the next step may take; None for any time."""
        if self._longest_s is None or self._tokens < KNOWN_AFTER:
            return self._longest_s
        return min(self._longest_s, max(self._least_s, TIMES * self._longest_step_s))
