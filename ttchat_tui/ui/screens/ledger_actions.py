"""Actions of the chat screen on the context: the ledger, kept messages, and messages that are left out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from ttchat_tui.domain.conversation import ContextMark
from ttchat_tui.domain.updates import PromptCost, Update
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import BY_NAME, keys_label
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.transcript.message_format import will_not_be_sent

if TYPE_CHECKING:
    from ttchat_tui.ui.screens.ledger import LedgerDialog
    from ttchat_tui.ui.screens.message_keys import MessageChoice

FULL: Final = 0.8
"""Share of the context from which the ledger opens by itself."""


class LedgerActions(ChatActions):
    """One method for each action."""

    obey: Callable[[MessageChoice | None], Awaitable[None]]
    _ledger: LedgerDialog | None = None
    """The ledger while it is open."""
    has_answered = False
    """A reply has ended in the conversation on screen since it was opened: to read old ones, nobody needs the ledger."""
    _has_had_turn: frozenset[int] = frozenset()
    """Conversations in which it has opened by itself, as far as this session knows."""

    def action_context(self) -> None:
        self.open_ledger(is_asked=True)

    def open_ledger(self, *, is_asked: bool) -> None:
        """Raises StorageError: the conversation cannot be read, of which perhaps only the end was."""
        self.session.path.read()

        async def close(chosen: MessageChoice | str | None) -> None:
            self._ledger = None
            if isinstance(chosen, str):
                self.prompt.write(chosen)
            elif chosen is not None:
                self.close_overlay()
                await self.obey(chosen)

        self._ledger = deferred.ledger.LedgerDialog(
            self.session.context, self._decide, self.services.config.keys, is_asked=is_asked
        )
        self.app.push_screen(self._ledger, close)

    def _decide(self, updates: list[Update]) -> None:
        """Draw what a decision in the ledger has changed; the new counts follow."""
        self.show_updates(updates)
        if self._ledger is not None:
            self._ledger.show_rows()

    def show_count(self, cost: PromptCost) -> None:
        """The engine has counted: show it in the open ledger, or open that when the context is nearly full."""
        if self._ledger is not None:
            self._ledger.show_rows()
        elif cost.dropped_messages or (
            cost.context_length and cost.prompt_tokens >= FULL * cost.context_length
        ):
            self._open_by_itself(cost)

    def _open_by_itself(self, cost: PromptCost) -> None:
        """Once for each conversation, after a reply. Over a draft, a dialog or another field, a toast says instead what the
        key would show."""
        conversation = self.session.conversation
        if conversation is None or conversation.id in self._has_had_turn:
            return
        is_typing = bool(self.prompt.text)
        if not self.has_answered and not is_typing:
            return
        self._has_had_turn |= {conversation.id}
        try:
            if not self.session.context.take_ledger_turn():
                return
        except StorageError as error:
            self.show_error(error.info)
            return
        if self.app.screen is self and self.focused is self.prompt and not is_typing:
            self.open_ledger(is_asked=False)
            return
        action = BY_NAME["context"]
        how = keys_label(action, self.services.config.keys) or action.slash
        if cost.dropped_messages:
            what = will_not_be_sent(cost.dropped_messages)
        else:
            what = f"The context is {min(cost.prompt_tokens / cost.context_length, 1):.0%} full"
        self.notify(f"{what}: {how} shows what the context holds.", markup=False)

    def show_summary_end(self) -> None:
        """Show the summary that was asked for in the ledger; a toast says where it is if that has been closed."""
        if self._ledger is not None:
            self._ledger.show_rows()
            self._ledger.show_proposal()
        elif self.session.context.proposal is not None:
            how = keys_label(BY_NAME["context"], self.services.config.keys) or "/context"
            self.notify(f"The summary is written: {how}, then s shows it.", markup=False)

    def action_keep_message(self) -> None:
        self._mark_selected("kept")

    def action_leave_out(self) -> None:
        self._mark_selected("left out")

    def _mark_selected(self, mark: ContextMark) -> None:
        selected = self.transcript.selected_keys
        if not selected:
            keys = keys_label(BY_NAME["select_previous"], self.services.config.keys)
            self.notify(f"Select a message first{f' ({keys})' if keys else ''}.", markup=False)
        else:
            self.attempt(lambda: self.session.context.mark(selected, mark))
