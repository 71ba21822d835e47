"""Actions of the chat screen that ask for several replies at once, and show them side by side."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import TYPE_CHECKING, cast

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.candidates import CandidateOrder, parse_candidates
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import Update
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions

if TYPE_CHECKING:
    from ttchat_tui.config.prompt_library import PromptLibrary
    from ttchat_tui.ui.app import TtchatApp
    from ttchat_tui.ui.screens.candidates import CandidatesScreen


class Comparing(ChatActions):
    """`/candidates` and F12."""

    attached: Callable[..., Awaitable[str | None]]
    action_pause: Callable[[], None]
    action_step: Callable[[], None]
    copy: Callable[[str], None]
    _change: Callable[[Callable[[], list[Update]]], bool]
    _side_by_side: CandidatesScreen | None = None
    """The screen that shows them, also once it is closed."""

    @cached_property
    def library(self) -> PromptLibrary:
        raise NotImplementedError

    @property
    def _text_to_send(self) -> str:
        raise NotImplementedError

    async def action_candidates(self) -> None:
        """Answer the draft, or the last message again; without a draft, first show those that are there."""
        text, candidates = self._text_to_send, self.session.candidates
        if not text.strip():
            if not self.attempt(candidates.reopen):
                return
            if candidates.is_on_screen:
                self._show_candidates()
                return
        await self._ask_candidates(CandidateOrder(text=text), is_draft=bool(text.strip()))

    async def command_candidates(self, typed: str) -> None:
        order = parse_candidates(typed)
        if isinstance(order, ErrorInfo):
            self.show_error(order)
        else:
            await self._ask_candidates(order)

    def choices_candidates(self) -> list[tuple[str, str]]:
        here = [row.name for row in self.offered_models() if row.is_here and row.name != self.session.model]
        two = [self.session.model, *here[:1]]
        return [
            ("4", "with other seeds"),
            ("4 temperature=0.2..1.4", "a range of any setting"),
            ("temperature=0.2,0.7,1.2", "these values"),
            ("preset", "a reply for each preset"),
            *([(f"model={','.join(two)}", "two models")] if len(two) > 1 else []),
        ]

    async def _ask_candidates(self, order: CandidateOrder, *, is_draft: bool = False) -> None:
        """`is_draft`: the text is in the prompt."""
        candidates = self.session.candidates
        try:
            wanted = candidates.wanted(order, self.library.preset)
        except ConfigError as error:
            wanted = error.info
        if not isinstance(wanted, ErrorInfo):  # a typing error must not unload the current model
            faults = (self.model_fault(each.model) for each in wanted if each.model)
            wanted = next(filter(None, faults), wanted)
        if isinstance(wanted, ErrorInfo):
            self.show_error(wanted)
            return
        text = await self.attached(order.text) if order.text.strip() else ""
        if text is None or (is_draft and self.prompt.text != order.text):
            return  # a file cannot be attached; or the draft was changed while files were read
        self.apply_typed_settings()
        if is_draft:
            self.prompt.clear_draft()
        self.transcript.follow()
        self.attempt(lambda: candidates.ask(wanted, text))
        self.keep_draft()
        if candidates.is_running:
            self._show_candidates()

    def _show_candidates(self) -> None:
        cast("TtchatApp", self.app).drop_stale_toasts(with_errors=True)  # they would lie over the lanes
        paces = {"pause": self.action_pause, "step": self.action_step}
        self._side_by_side = deferred.candidates.CandidatesScreen(
            self.session,
            self.transcript.folding,
            self._change,
            self.copy,
            lambda name: paces[name](),
        )
        self.session.candidates.second.watch(True)
        self.app.push_screen(self._side_by_side, self._candidates_closed)

    def _candidates_closed(self, said: ErrorInfo | None) -> None:
        self.show_updates(self.session.candidates.second.watch(False))
        self.transcript.flush()  # what has come meanwhile
        if said is not None:
            self.show_error(said)

    def show_error(self, error: ErrorInfo) -> None:
        if self._side_by_side is not None and self.app.screen is self._side_by_side:
            self._side_by_side.say(error)
        else:
            super().show_error(error)

    @property
    def has_candidates_open(self) -> bool:
        """They are on screen, and nothing of the transcript is."""
        return self._side_by_side is not None and self._side_by_side in self.app.screen_stack

    def flush_candidates(self) -> float:
        """Draw what has come of them. Returns the CPU seconds that it takes, with the paint."""
        assert self._side_by_side is not None
        began_s, after_s = time.thread_time(), self._side_by_side.paint_s
        self._side_by_side.flush()
        return time.thread_time() - began_s + after_s
