"""The action that opens the inspector."""

from __future__ import annotations

from collections.abc import Callable

from ttchat_tui.domain.updates import Update
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions


class Inspecting(ChatActions):
    """One method for each action."""

    def action_inspect(self) -> None:
        selected = self.transcript.selected
        replies = (each for each in reversed(self.session.path) if each.role == "assistant")
        message = next((each for each in replies if selected in (None, each.id)), None)
        if message is None:
            what = "There is no reply yet." if selected is None else "Select a reply: only they have tokens."
            self.notify(what, markup=False)
            return
        self.app.push_screen(
            deferred.inspector.InspectorScreen(self.session, message, self.services.config.ui, self._fork)
        )

    def _fork(self, action: Callable[[], list[Update]]) -> bool:
        """Returns whether another reply is on screen now; if not, a notice says why."""
        before = self.session.path
        if not self.attempt(action) or self.session.path is before:
            return False
        self.transcript.follow()
        return True
