"""The clock of one row's steps, which splits the time from token to token into its parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ttchat_tui.domain.timeline import ColdWork, StepParts


class Forward(NamedTuple):
    """When a forward ran, in seconds since the request."""

    began_s: float
    ended_s: float
    work: ColdWork = ""


class StepClock:
    """Its calls come in the order `begin`, `note_drawn`, `take`, `note_sent` for each token of the row. They read the clock
    three times a token, and no more."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._forward = Forward(0.0, 0.0)
        self._begun_s = self._drawn_s = 0.0
        self._token_s = 0.0
        """When the latest token was complete."""
        self._sent_s: float | None = None
        """When its event had been taken; None before the first one."""

    def begin(self, forward: Forward) -> None:
        """The row's turn has come: it samples next, from what `forward` gave."""
        self._forward = forward
        self._begun_s = self._drawn_s = self._now_s()

    def note_drawn(self) -> None:
        """The sampler has drawn."""
        self._drawn_s = self._now_s()

    def take(self, time_s: float) -> StepParts:
        """The parts of the token that is complete at `time_s`."""
        send_s, loop_s, forward = 0.0, self._begun_s - self._forward.ended_s, self._forward
        if self._sent_s is not None:
            send_s = self._sent_s - self._token_s
            loop_s += forward.began_s - self._sent_s
        self._token_s = time_s
        return StepParts(
            send_s=send_s,
            forward_s=forward.ended_s - forward.began_s,
            sample_s=self._drawn_s - self._begun_s,
            detokenise_s=time_s - self._drawn_s,
            loop_s=loop_s,
            work=forward.work,
        )

    def note_sent(self) -> None:
        """Whoever reads the events has taken the latest token's."""
        self._sent_s = self._now_s()
