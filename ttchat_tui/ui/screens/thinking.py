"""The action of the chat screen that chooses how much the model thinks."""

from __future__ import annotations

from typing import cast, get_args

from msgspec.structs import replace

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.sampling import Thinking
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.chat_actions import ChatActions


class ThinkingActions(ChatActions):
    """`/think` and `/think low`."""

    def action_think(self) -> None:
        """Say what is chosen, and what else may be."""
        levels = self._levels()
        choice = f"/think {' | '.join(('auto', *levels))}" if levels else self._nothing_to_choose()
        self.notify(f"Thinking: {self.session.sampling.thinking}. {choice}", markup=False)

    def command_think(self, typed: str) -> None:
        level = typed.strip().lower()
        is_loaded = self.session.info is not None
        if level not in get_args(Thinking):
            known = ", ".join(get_args(Thinking))
            self._refuse(f"/think does not know {typed}.", f"It takes {known}.")
        elif is_loaded and level not in ("auto", *self._levels()):
            cure = f"It takes {', '.join(('auto', *self._levels()))}." if self._levels() else ""
            self._refuse(f"{self._nothing_to_choose(level)}", cure)
        else:
            self._choose(cast("Thinking", level))

    def choices_think(self) -> list[tuple[str, str]]:
        """For the completion."""
        return [("auto", "as the chat template decides"), *((level, "") for level in self._levels())]

    def _levels(self) -> tuple[Thinking, ...]:
        info = self.session.info
        return info.capabilities.thinking if info is not None else ()

    def _nothing_to_choose(self, level: str = "") -> str:
        info = self.session.info
        if info is None:
            return "What can be chosen is known once a model is loaded."
        what = f"Thinking “{level}”" if level and self._levels() else "A choice about thinking"
        return info.why_not_thinking(what)

    def _refuse(self, message: str, cure: str) -> None:
        self.show_error(ErrorInfo(kind="usage", message=message, cure=cure))

    def _choose(self, level: Thinking) -> None:
        try:
            self.session.set_sampling(replace(self.session.sampling, thinking=level))
        except StorageError as error:
            self.show_error(error.info)
        if self.sampling_panel is not None:
            self.sampling_panel.set_params(self.session.sampling)
        self.count()
        what = "as the chat template decides" if level == "auto" else level
        self.notify(f"Thinking: {what}, from the next message on.", markup=False)
