"""The action that opens the inspector."""

from __future__ import annotations

from collections.abc import Callable

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.updates import Update
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions


class Inspecting(ChatActions):
    """One method for each action."""

    _selected_or: Callable[[Callable[[Message], bool]], Message | None]
    set_bias: Callable[..., None]
    _change: Callable[[Callable[[], list[Update]]], bool]
    leave_inspected: Callable[[bool | None], None]

    def action_inspect(self) -> None:
        message = self._selected_or(lambda each: each.role == "assistant")
        if message is None or message.role != "assistant":
            what = "There is no reply yet." if message is None else "Select a reply: only they have tokens."
            self.notify(what, markup=False)
            return
        ui = self.services.config.ui
        screen = deferred.inspector.InspectorScreen(self.session, message, ui, self._change, self.set_bias)
        self.app.push_screen(screen, self.leave_inspected)
