"""Tokens that the user chooses for the running reply: another latest one, or the end of its thought."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import END_OF_THOUGHT, Forced
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.updates import NOTE
from ttchat_tui.session.running_reply import RunningReply

NOT_THINKING: Final = ErrorInfo(kind=NOTE, message="No reply on screen is thinking.")


class Steering:
    """What it chooses is recorded as the user's, and the model continues from it."""

    def __init__(
        self, shown: Callable[[], RunningReply | None], info: Callable[[], EngineInfo | None]
    ) -> None:
        """`shown`: the running reply, if it is on screen."""
        self._shown = shown
        self._info = info

    @property
    def is_thinking(self) -> bool:
        """The reply on screen is in a thought that is open."""
        running = self._shown()
        return running is not None and running.thoughts.is_open

    @property
    def why_not(self) -> ErrorInfo | None:
        """Why the loaded engine takes no tokens from the user; None: it does."""
        info = self._info()
        if info is None or info.capabilities.forcing:
            return None
        return ErrorInfo(
            kind="usage",
            message=f"{info.label} takes no tokens for a running reply.",
            cure="Press Esc to stop it, edit what it wrote, and /continue.",
        )

    def end_thought(self) -> ErrorInfo | None:
        """Let the answer begin: the open thought ends as the chat template ends it. Returns why that is impossible."""
        running = self._shown()
        if running is None or not self.is_thinking:
            return NOT_THINKING
        if (refusal := self.why_not) is None:
            running.control.force(Forced(END_OF_THOUGHT))
        return refusal

    def can_choose(self, message_id: int, place: int) -> bool:
        """Whether the token at `place` of this reply's recording can be another one: it is the latest, and the reply is paused."""
        running = self._shown()
        return (
            running is not None
            and running.message.id == message_id
            and running.control.is_paused
            and running.candidates.first_end is None
            and running.recorder is not None
            and running.recorder.first <= place == running.recorder.end - 1
            and self.why_not is None
        )

    def choose(self, message_id: int, place: int, token_id: int) -> bool:
        """Put another token in the place of the latest one. The reply stays paused, and continues from it once it resumes; an
        end token ends it at once. False: see `can_choose`."""
        running = self._shown()
        if running is None or running.recorder is None or not self.can_choose(message_id, place):
            return False
        running.control.force(Forced(token_id, instead_of=place - running.recorder.first))
        return True
