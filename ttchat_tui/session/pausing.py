"""Pauses of the running reply, and its single steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.session.notices import runs_elsewhere
from ttchat_tui.session.running_reply import RunningReply

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession

NOTHING_RUNS: Final = ErrorInfo(kind=NOTE, message="No reply is running that could be paused.")
NOT_BEGUN: Final = ErrorInfo(
    kind=NOTE,
    message="The reply has not begun yet.",
    cure="It can be paused when the model reads the prompt.",
)


class Pausing:
    """While the reply is paused, its model and KV cache stay, what is sent waits in the queue, and no time-out runs."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    @property
    def is_paused(self) -> bool:
        """The running reply is paused, on screen or elsewhere: of two models', those that can be."""
        running = [each for each, why in self._replies if why is None]
        return bool(running) and all(each.control.is_paused for each in running)

    @property
    def _replies(self) -> list[tuple[RunningReply, ErrorInfo | None]]:
        """What runs, on screen or elsewhere, each with the reason why it cannot be paused."""
        session = self._session
        models = ((session.running, session.info), (session.second.running, session.second.info))
        return [(running, _why_not(running, info)) for running, info in models if running is not None]

    @property
    def why_not(self) -> ErrorInfo | None:
        """Why no reply on screen can be paused or resumed now; None if one can."""
        reasons = [why for _, why in self._replies]
        if not reasons:
            return NOTHING_RUNS
        if behind := self._session.answered_elsewhere:
            return runs_elsewhere(behind)
        return None if None in reasons else reasons[0]

    def _pausable(self) -> tuple[list[RunningReply], ErrorInfo | None]:
        """The replies that can be paused, and why another one cannot."""
        if (refusal := self.why_not) is not None:
            return [], refusal
        replies = self._replies
        others = [structs.replace(why, kind=NOTE, cure="") for _, why in replies if why is not None]
        return [each for each, why in replies if why is None], next(iter(others), None)

    def toggle(self) -> ErrorInfo | None:
        """Pause the replies on screen before their next token, or resume them. Returns why one cannot be paused."""
        is_paused = self.is_paused
        pausable, refusal = self._pausable()
        for running in pausable:
            if is_paused:
                running.control.resume()
            else:
                running.control.pause()
        return refusal

    def step(self) -> ErrorInfo | None:
        """Let each reply on screen make exactly one token; a running one pauses after it. Returns why one cannot be paused."""
        pausable, refusal = self._pausable()
        for running in pausable:
            running.control.pause()
            running.control.step()
        return refusal


def _why_not(running: RunningReply, info: EngineInfo | None) -> ErrorInfo | None:
    if not running.has_started or info is None:
        return NOT_BEGUN
    if info.capabilities.pause:
        return None
    message = f"{info.label} cannot pause: a server generates on, and ends a reply that nobody reads."
    return ErrorInfo(kind="usage", message=message, cure="Press Esc to stop it; /continue resumes it.")
