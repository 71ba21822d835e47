"""Actions of the chat screen that bring back what was sent before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.slash import as_typed

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.prompt_search import PromptSearch


class Recalling(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    _prompt_search: PromptSearch | None = None
    """Mounted on first use."""

    async def action_find_prompt(self) -> None:
        await self.command_find_prompt("")

    async def command_find_prompt(self, words: str) -> None:
        try:
            recent = list(map(without_mentioned_blocks, self.session.prompts.recent()))
        except StorageError as error:
            self.show_error(error.info)
            return
        self.close_overlay()
        if self._prompt_search is None:
            self._prompt_search = deferred.prompt_search.PromptSearch(self.session.prompts)
            await self.query_one("#writing").mount(self._prompt_search, before=self.prompt)
        self._prompt_search.open(words, recent)

    def _close_prompt_search(self, *, to_prompt: bool = True) -> None:
        if self._prompt_search is not None:
            self._prompt_search.close()
        if to_prompt:
            self.prompt.focus()

    @property
    def _is_recalling(self) -> bool:
        return self._prompt_search is not None and self._prompt_search.display

    def action_stop(self) -> None:
        """Esc: first close the list of earlier prompts, unless a reply is to be stopped."""
        if self._is_recalling and not self.session.is_answering:
            self._close_prompt_search()
        else:
            super().action_stop()

    def escape_does(self) -> str:
        return "close" if self._is_recalling and not self.session.is_answering else super().escape_does()

    # --- messages from the list, handled by name: its class is imported later

    def on_prompt_search_closed(self, event: PromptSearch.Closed) -> None:
        self._close_prompt_search(to_prompt=not event.is_left)

    def on_prompt_search_chosen(self, event: PromptSearch.Chosen) -> None:
        chosen = event.prompt
        try:
            text = chosen if isinstance(chosen, str) else self.session.prompts.text_of(chosen)
        except StorageError as error:  # removed in another window
            self.show_error(error.info)
            return
        self.prompt.replace_draft(as_typed(without_mentioned_blocks(text)))
        self._close_prompt_search()
