"""Actions of the chat screen that pause the running reply and let it make single tokens.

The keys are characters. They act where they would begin a draft, in the prompt or anywhere else, while a reply runs on screen
that can be paused; everywhere else they are typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.ui.commands import BY_NAME
from ttchat_tui.ui.keys import canonical_key
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.key_line import ShownKey

KEYS: Final[Mapping[str, str]] = MappingProxyType({"space": "pause", "full_stop": "step"})
"""Key → action."""
PAUSED: Final = "paused"


class PausingActions(ChatActions):
    """`/pause` and `/step`."""

    on_message_selection_selection_changed: Callable[[], None]
    _refresh_metrics: Callable[[], None]
    _paused_id: int | None = None
    """The message that says that it is paused."""

    def action_pause(self) -> None:
        self._pace(self.session.pausing.toggle())

    def action_step(self) -> None:
        self._pace(self.session.pausing.step())

    def _pace(self, refusal: ErrorInfo | None) -> None:
        if refusal is not None:
            self.show_error(refusal)
        self.show_updates(self.session.tick())  # what it has written so far
        self._refresh_metrics()

    def paces(self, key: str) -> bool:
        """Pause, resume or step, if that is what the key does now."""
        name = canonical_key(key)
        if name not in self.prompt.first_keys or not self.prompt.is_at_beginning:
            return False
        if KEYS[name] == "pause":
            self.action_pause()
        else:
            self.action_step()
        return True

    def pace_word(self) -> str:
        """What the engine does, if the reply is paused; otherwise empty."""
        return PAUSED if self.session.pausing.is_paused else ""

    def pace_keys(self) -> Sequence[ShownKey]:
        """The keys that work now, for the key line. Where the engine cannot pause, they are greyed."""
        session = self.session
        refusal = session.pausing.why_not
        if not session.is_answering or not self.prompt.is_at_beginning:
            return ()
        is_greyed = refusal is not None
        words = {"pause": "resume" if session.pausing.is_paused else "pause", "step": "one token"}
        labels = {"space": "space", "full_stop": "."}
        return [
            ShownKey(
                name,
                key,
                labels[key],
                words[name],
                not is_greyed,
                refusal.message if refusal else BY_NAME[name].help,
            )
            for key, name in KEYS.items()
        ]

    def show_pace(self) -> None:
        """Show in the status line and under the reply whether it is paused."""
        session = self.session
        can_pause = session.pausing.why_not is None
        self.prompt.first_keys = frozenset(KEYS) if can_pause else frozenset()
        running = session.running if session.is_answering and session.pausing.is_paused else None
        paused_id = running.message.id if running is not None else None
        if paused_id == self._paused_id:
            return
        if session.is_busy:
            self.show_place_of_reply()
        if session.is_answering and session.running is not None:
            self.transcript.set_note(session.running.message.id, PAUSED if paused_id is not None else "")
        self._paused_id = paused_id
        if self.history_panel is not None:
            self.history_panel.conversations.refresh()  # its mark

    def on_prompt_beginning_changed(self) -> None:
        self.on_message_selection_selection_changed()
