"""Actions of the chat screen that find something said, in all conversations or in the open one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from textual.message import Message

from ttchat_tui.domain.matching import Matcher
from ttchat_tui.domain.search import SearchHit, needles_in, typed_as
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.find_bar import FindBar

_INDEXING: Final = "What was said in all conversations is being indexed for the search, the newest first."


class Finding(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    _searched = ""
    """The last query: the dialog opens with it."""
    _find_bar: FindBar | None = None
    """Mounted on first use."""

    @dataclass
    class Indexed(Message):
        """The search's thread has come so far."""

        share: float
        """Of all messages, between 0 and 1."""

    _is_indexing = False
    """A toast has said so."""

    def start_search(self) -> None:
        """Bring the index up to date in the background. If that takes long, say so."""
        if self.session.search is not None:
            self.session.search.refresh(self._report_index)

    def _report_index(self, share: float) -> None:
        """Called on the search's thread."""
        with suppress(RuntimeError):  # the app has ended
            self.post_message(self.Indexed(share))

    def on_finding_indexed(self, event: Indexed) -> None:
        if 0 < event.share < 1 and not self._is_indexing:  # the first answer comes before the first batch
            self._is_indexing = True
            self.notify(_INDEXING, markup=False)
        elif event.share == 1 and self._is_indexing:
            self._is_indexing = False
            self.drop_toast(_INDEXING)
            self.notify("Everything said is indexed: alt+s searches it.", markup=False)

    # --- in all conversations

    def action_search(self) -> None:
        self.command_search(self._searched)

    def command_search(self, typed: str) -> None:
        if self.session.search is None:
            self.notify("Nothing can be searched: this session is not kept on disk.", markup=False)
            return
        dialog = deferred.search.SearchDialog(self.session.search, typed)

        async def open_hit(hit: SearchHit | None) -> None:
            self._searched = dialog.typed
            if hit is not None:
                await self._open_hit(hit, dialog.needles)

        self.app.push_screen(dialog, open_hit)

    async def _open_hit(self, hit: SearchHit, needles: Sequence[str]) -> None:
        """Open the hit's message in its branch, with the needles marked."""
        message_id = hit.message_id
        if message_id is None:
            self.open_conversation(hit.conversation_id)
            return
        self.apply_typed_settings()
        self.keep_draft()
        if not self.attempt(lambda: self.session.open_at(message_id)):
            return
        self.close_overlay()
        if message_id not in self.session.path.ids:
            return
        self.transcript.select(message_id)
        if needles:
            (await self._bar()).open(typed_as(needles), to_walk=True)
            self.transcript.find(Matcher(needles), message_id)
        else:
            self.transcript.bring_into_view(message_id)

    # --- in the open one

    async def action_find(self) -> None:
        bar = await self._bar()
        bar.open(bar.text, to_walk=False)
        self._find(bar.text)

    async def command_find(self, text: str) -> None:
        bar = await self._bar()
        bar.open(text, to_walk=True)
        self._find(text)

    def _find(self, text: str) -> None:
        self.transcript.find(Matcher(needles_in(text)), self.transcript.selected)
        self._select_hit()

    def _select_hit(self) -> None:
        """A selection goes along with the hits: keys act on the message in view."""
        hit = self.transcript.hit_message
        if hit is not None and self.transcript.selected is not None:
            self.transcript.select(hit)

    async def _bar(self) -> FindBar:
        if self._find_bar is None:
            self._find_bar = deferred.find_bar.FindBar()
            await self.query_one("#chat").mount(self._find_bar, before="#writing")
        return self._find_bar

    @property
    def is_finding(self) -> bool:
        return self._find_bar is not None and self._find_bar.display

    def stop_finding(self) -> None:
        """Close the line, and mark nothing more."""
        if self._find_bar is not None:
            self._find_bar.display = False
        self.transcript.find(None)
        self.prompt.focus()

    def leave_find(self) -> None:
        """Close the line over a conversation without messages, in which nothing can be found. Another one has hits of its own."""
        if self.is_finding and not self.session.path:
            self.stop_finding()

    def action_stop(self) -> None:
        """Esc: first close the line of words to find, unless a reply is to be stopped."""
        if self.is_finding and not self.session.is_answering:
            self.stop_finding()
        else:
            super().action_stop()

    def escape_does(self) -> str:
        is_first = self.is_finding and not self.session.is_answering
        return "end find" if is_first else super().escape_does()

    def on_find_bar_changed(self, event: FindBar.Changed) -> None:
        self._find(event.text)

    def on_find_bar_stepped(self, event: FindBar.Stepped) -> None:
        self.transcript.step_hit(event.step)
        self._select_hit()

    def on_find_bar_closed(self) -> None:
        self.stop_finding()

    def on_message_hits_hits_changed(self, event: Transcript.HitsChanged) -> None:
        if self._find_bar is not None:
            self._find_bar.show_count(event)
