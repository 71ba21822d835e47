"""Pauses of the running reply, and its single steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.session.notices import runs_elsewhere
from ttchat_tui.session.running_reply import RunningReply

NOTHING_RUNS: Final = ErrorInfo(kind=NOTE, message="No reply is running that could be paused.")
NOT_BEGUN: Final = ErrorInfo(
    kind=NOTE,
    message="The reply has not begun yet.",
    cure="It can be paused when the model reads the prompt.",
)


class Pausing:
    """While the reply is paused, its model and KV cache stay, what is sent waits in the queue, and no time-out runs."""

    def __init__(
        self,
        running: Callable[[], RunningReply | None],
        answered_elsewhere: Callable[[], str],
        info: Callable[[], EngineInfo | None],
    ) -> None:
        """`answered_elsewhere`: the name of another conversation in which the reply runs; empty if it is on screen."""
        self._running = running
        self._answered_elsewhere = answered_elsewhere
        self._info = info

    @property
    def is_paused(self) -> bool:
        """The running reply is paused, on screen or elsewhere."""
        running = self._running()
        return running is not None and running.control.is_paused

    @property
    def why_not(self) -> ErrorInfo | None:
        """Why no reply on screen can be paused or resumed now; None if one can."""
        running, info = self._running(), self._info()
        if running is None:
            return NOTHING_RUNS
        if behind := self._answered_elsewhere():
            return runs_elsewhere(behind)
        if not running.has_started or info is None:
            return NOT_BEGUN
        if not info.capabilities.pause:
            message = f"{info.label} cannot pause: a server generates on, and ends a reply that nobody reads."
            return ErrorInfo(
                kind="usage", message=message, cure="Press Esc to stop it; /continue resumes it."
            )
        return None

    def toggle(self) -> ErrorInfo | None:
        """Pause the reply on screen before its next token, or resume it. Returns why that is impossible."""
        running, refusal = self._running(), self.why_not
        if running is not None and refusal is None:
            if running.control.is_paused:
                running.control.resume()
            else:
                running.control.pause()
        return refusal

    def step(self) -> ErrorInfo | None:
        """Let the reply on screen make exactly one token; a running one pauses after it. Returns why that is impossible."""
        running, refusal = self._running(), self.why_not
        if running is not None and refusal is None:
            running.control.pause()
            running.control.step()
        return refusal
