"""Actions of the chat screen that steer what is written: bans and boosts of tokens, and the end of a thought."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.logit_bias import BAN, bias_words, shown_text, typed_boost, typed_text
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.key_line import ShownKey, keys_shown

_NAMING: Final = (
    'The text has the space before the word: /ban " the". Or press x on a token in the inspector.'
)


class SteeringActions(ChatActions):
    """`/ban`, `/boost`, `/unban` and `/answer-now`."""

    key_overrides: Mapping[str, str]
    _refresh_settings: Callable[[], None]
    return_command: Callable[..., None]
    _bias_words = ""
    """What was said when a bias was set last."""

    def action_answer_now(self) -> None:
        if (refusal := self.session.steering.end_thought()) is not None:
            self.show_error(refusal)

    def answer_keys(self) -> Sequence[ShownKey]:
        """The key that ends the thought, while the reply on screen is in one. Greyed out where the engine cannot."""
        steering = self.session.steering
        if not steering.is_thinking:
            return ()
        refusal = steering.why_not
        shown = keys_shown({"answer_now": "answer now"}, self.key_overrides)
        if refusal is None:
            return shown
        return [each._replace(is_enabled=False, tooltip=refusal.message) for each in shown]

    def action_ban(self) -> None:
        """Without a text: what is banned and boosted."""
        words = [bias_words(*each) for each in self.session.biasing.all.items()]
        self.notify(", ".join(words) or f"No token is banned or boosted. {_NAMING}", markup=False)

    action_boost = action_ban

    def action_unban(self) -> None:
        self._apply_bias(self.session.biasing.clear, "No token is banned or boosted any more.")

    def command_ban(self, typed: str) -> None:
        if (text := self._token_text(typed)) is not None:
            self.set_bias(text, BAN)

    def command_boost(self, typed: str) -> None:
        try:
            text, amount = typed_boost(typed)
        except ValueError as error:
            self._refuse_bias(f"{error}.", 'Give the text and an amount from -100 to 100: /boost " the" 3.')
        else:
            self.set_bias(text, amount)

    def command_unban(self, typed: str) -> None:
        text = self._token_text(typed)
        if text is None:
            return
        if text not in self.session.biasing.all:
            self._refuse_bias(f"{shown_text(text)} is neither banned nor boosted.")
        else:
            self.set_bias(text, 0.0)

    def choices_unban(self) -> list[tuple[str, str]]:
        """For the completion."""
        return [(f'"{text}"', bias_words(text, amount)) for text, amount in self.session.biasing.all.items()]

    def set_bias(self, text: str, amount: float, *, in_reply: bool = False, is_quiet: bool = False) -> None:
        """Ban (`BAN`), boost or release (0) a token in the conversation, or only until the running reply ends. `is_quiet`: the
        caller shows it."""
        where = "until this reply ends" if in_reply else "in this conversation"
        words = f"{shown_text(text)} as the model gives it" if not amount else bias_words(text, amount)
        self._apply_bias(
            lambda: self.session.biasing.set(text, amount, in_reply=in_reply),
            "" if is_quiet else f"{words[:1].upper()}{words[1:]}: {where}, from the next token on.",
        )

    def _apply_bias(self, action: Callable[[], ErrorInfo | None], words: str) -> None:
        try:
            refusal = action()
        except StorageError as error:
            refusal = error.info
        if refusal is not None:
            self.show_error(refusal)
        elif words:
            self.notify(words, markup=False)
        self._bias_words = words
        if self.sampling_panel is not None:
            self.sampling_panel.set_params(self.session.sampling)
        self.count()  # which reports a text that is not one token of the model

    def show_refused_bias(self, error: ErrorInfo) -> None:
        """The bias before applies again."""
        self.drop_toast(self._bias_words)
        self._refresh_settings()
        self.return_command("ban", "boost")
        self.show_error(error)
        self.count()

    def _token_text(self, typed: str) -> str | None:
        try:
            return typed_text(typed)
        except ValueError as error:
            self._refuse_bias(f"{error}.")
            return None

    def _refuse_bias(self, message: str, cure: str = _NAMING) -> None:
        self.show_error(ErrorInfo(kind="usage", message=f"{message[:1].upper()}{message[1:]}", cure=cure))
