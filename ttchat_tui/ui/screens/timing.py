"""The action that opens the timeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ttchat_tui.domain.conversation import Message
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.screens.message_keys import MessageChoice


class Timing(ChatActions):
    """One method for each action."""

    _selected_or: Callable[[Callable[[Message], bool]], Message | None]
    obey: Callable[[MessageChoice | None], Awaitable[None]]

    def action_timeline(self) -> None:
        message = self._selected_or(lambda each: each.role == "assistant")
        screen = deferred.timeline.TimelineScreen(self.session, message.id if message is not None else None)
        self.app.push_screen(screen, self.obey)
