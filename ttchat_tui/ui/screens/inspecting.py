"""The action that opens the inspector."""

from __future__ import annotations

from ttchat_tui.domain.recording import Recording
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.chat_actions import ChatActions


class Inspecting(ChatActions):
    """One method for each action."""

    def action_inspect(self) -> None:
        selected = self.transcript.selected
        message = next(
            (
                each
                for each in reversed(self.session.path)
                if each.role == "assistant" and selected in (None, each.id)
            ),
            None,
        )
        if message is None:
            what = "There is no reply yet." if selected is None else "Only replies have tokens to inspect."
            self.notify(what, markup=False)
            return
        screen = deferred.inspector.InspectorScreen(message, self._read_recording, self._recording_so_far)
        self.app.push_screen(screen)

    async def _read_recording(self, message_id: int) -> Recording:
        try:
            decode = self.session.recordings.reader(message_id)
            return await in_daemon_thread(decode)
        except StorageError as error:
            self.show_error(error.info)
            return Recording()

    def _recording_so_far(self, message_id: int) -> Recording | None:
        """Of a running reply; None: it has ended."""
        running = self.session.running
        if running is None or running.message.id != message_id:
            return None
        return self.session.recordings.of(message_id)
