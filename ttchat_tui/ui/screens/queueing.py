"""Actions of the chat screen on the messages that wait for their turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import NOTE, Notice, Update
from ttchat_tui.domain.user_paths import is_there
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import BY_NAME, keys_label
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.slash import as_typed

NOTHING_WAITS: Final = ErrorInfo(
    kind=NOTE, message="No message waits. What is sent while a reply runs waits for it to end."
)

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.queue_panel import QueuePanel


class Queueing(ChatActions):
    """One method for each action, and the panel that shows the queue."""

    on_message_selection_selection_changed: Callable[[], None]
    attached: Callable[..., Awaitable[str | None]]
    _queue_panel: QueuePanel | None = None
    """Mounted with the first message that waits."""

    def show_queue(self) -> None:
        queue = self.session.queue
        if self._queue_panel is None:
            if not queue.messages:
                return
            self._queue_panel = deferred.queue_panel.QueuePanel()
            self.query_one("#writing").mount(self._queue_panel, before=self.prompt)
        panel = self._queue_panel
        if panel.has_focus and not queue.messages:
            self.prompt.focus()
        panel.show(queue.messages, self._open_id, self._queue_state(), queue.held)

    @property
    def _open_id(self) -> int | None:
        """The conversation on screen."""
        return self.session.conversation.id if self.session.conversation is not None else None

    def _queue_state(self) -> str:
        """How many messages wait, and for what: for the panel's title."""
        queue = self.session.queue
        held, waiting = len(queue.held), len(queue.messages) - len(queue.held)
        keys = keys_label(BY_NAME["focus_queue"], self.services.config.keys)
        behind = self.session.answered_elsewhere
        what_for = f" for the reply in {behind}" if behind else ""
        if waiting and not self.session.is_busy and queue.behind_others:
            what_for = " for the reply in another window"
        if not self.session.has_model:
            what_for = " for a model"
        said = [f"{_messages(waiting)} wait{'s' * (waiting == 1)}{what_for}"] if waiting else []
        if held:
            here = sum(
                each.id in queue.held and each.conversation_id == self._open_id for each in queue.messages
            )
            are_elsewhere = not here
            counts = f"{f'{held:,}' if waiting else _messages(held)} held"
            some = f", {held - here:,} elsewhere" if 0 < here < held else ""
            said.append(f"{counts}{' elsewhere' * are_elsewhere}{some}")
            if keys and are_elsewhere and not self._is_in_queue:
                said.append(f"{keys} shows {'it' if held == 1 else 'them'}")
            else:
                said.append(f"{keys}, enter sends" if keys else "enter sends")
        elif keys and not what_for:
            said.append(f"{keys} edits")
        return " · ".join(said)

    def restore_queue(self) -> None:
        """Show what waited when an earlier process ended, held; what another window has taken over is named."""
        self.attempt(self.session.queue.restore)
        self.attempt(self._waiting_elsewhere)

    def _waiting_elsewhere(self) -> list[Update]:
        return self.session.queue.elsewhere(self._open_id)

    def follow_queue(self) -> None:
        """Show what windows that have ended left, and give a sign of life to others."""
        self.show_updates(self.session.follow())

    def action_focus_queue(self) -> None:
        if self._queue_panel is None or not self.session.queue.messages:
            self.attempt(lambda: self._waiting_elsewhere() or [Notice(NOTHING_WAITS)])
        else:
            self.close_overlay()
            self._queue_panel.focus()

    @property
    def _is_in_queue(self) -> bool:
        return self._queue_panel is not None and self._queue_panel.has_focus

    def action_stop(self) -> None:
        """Esc in the panel leads back to the prompt, unless a reply is to be stopped."""
        if self._is_in_queue and not self.session.is_answering:
            self.prompt.focus()
        else:
            super().action_stop()

    def escape_does(self) -> str:
        if self._is_in_queue and not self.session.is_answering:
            return "back"
        queue = self.session.queue
        return super().escape_does() or ("hold" if queue.is_waiting else "")

    def on_descendant_focus(self) -> None:
        self.on_message_selection_selection_changed()  # other keys work there
        self.show_queue()

    def on_descendant_blur(self) -> None:
        self.show_queue()

    # --- messages from the panel, handled by name: its class is imported later

    def on_queue_panel_released(self) -> None:
        self.transcript.follow()
        self.show_updates(self.session.queue.release())
        self.prompt.focus()

    def on_queue_panel_move_requested(self, event: QueuePanel.MoveRequested) -> None:
        self.attempt(lambda: self.session.queue.move(event.message_id, event.step))

    def on_queue_panel_change_requested(self, event: QueuePanel.ChangeRequested) -> None:
        if event.change == "edit":
            self._edit_queued(event.message_id)
        elif self.attempt(lambda: self.session.queue.drop(event.message_id)):
            self.prompt.remember(as_typed(without_mentioned_blocks(event.content, is_there)))
            self.notify("Dropped. ↑ in the prompt brings it back.", markup=False)

    def _edit_queued(self, message_id: int) -> None:
        queue = self.session.queue

        def keep(text: str | None) -> None:
            if text is not None:
                before, after = map(without_mentioned_blocks, (message.content, text))
                self.prompt.remember_change(as_typed(before), as_typed(after))
            self.show_updates(queue.end_edit(text))

        try:
            message = queue.begin_edit(message_id)
        except StorageError as error:
            self.show_error(error.info)
            return
        home = (message.title or "Untitled") if message.conversation_id != self._open_id else ""
        dialog = deferred.edit_queued.EditQueued(
            message.content, home, self.services.config.ui, self.attached
        )
        self.app.push_screen(dialog, keep)


def _messages(count: int) -> str:
    return f"{count:,} message{'s' * (count != 1)}"
