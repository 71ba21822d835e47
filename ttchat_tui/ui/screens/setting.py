"""The actions of the chat screen that change the conversation's settings: commands, and the panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.reply_settings import ReplySettings, parse_reply_settings, setting_words
from ttchat_tui.domain.sampling import TEMPLATE_FIELDS
from ttchat_tui.domain.user_paths import unquoted
from ttchat_tui.session.notices import SENT_WITH_ITS_SETTINGS
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft

if TYPE_CHECKING:
    from ttchat_tui.ui.setting_choices import SettingValues
    from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel

_OWN_COMMANDS: Final = {
    "model": "/model loads one.",
    "constraint": "/constrain sets one.",
    "logit_bias": "/ban and /boost set it for a token.",
}
"""Settings that are tried before they apply."""
_REMOVED: Final = {"seed": "a new seed for each reply", "stop": "no stop texts"}
"""What is said of a setting that is taken out."""


class SettingActions(ChatActions):
    """`/set temperature=0.2 top-k=40` and `/system You answer in one sentence.`"""

    _apply: Callable[[Preset], None]
    _refresh_settings: Callable[[], None]
    values_regenerate: Callable[[str], SettingValues]

    def action_set(self) -> None:
        self.action_focus_sampling()

    def command_set(self, typed: str) -> None:
        settings = parse_reply_settings(typed)
        if isinstance(settings, ErrorInfo):
            self.show_error(settings)
            return
        names = ["model"] if settings.model else [name for name in settings.sampling if name in _OWN_COMMANDS]
        if names:
            what = names[0].replace("_", "-")
            self.show_error(
                ErrorInfo(kind="usage", message=f"/set takes no {what}.", cure=_OWN_COMMANDS[names[0]])
            )
        elif self.attempt(lambda: self.session.set_sampling(settings.over(self.session.sampling))):
            self._refresh_settings()
            self.count()
            self._say_what_applies(settings)
            self._say_when()

    def _say_what_applies(self, settings: ReplySettings) -> None:
        sampling, info = self.session.sampling, self.session.info
        words = setting_words(sampling, settings.sampling)
        words += [said for name, said in _REMOVED.items() if settings.sampling.get(name, "") in (None, ())]
        ignored = [
            name.replace("_", "-")
            for name in settings.sampling
            if info is not None and name not in info.capabilities.sampling | TEMPLATE_FIELDS
        ]
        said = f"{', '.join(words)}."
        if ignored and info is not None:
            said += f" {info.label} takes no {' and no '.join(ignored)}."
        self.notify(f"{said[0].upper()}{said[1:]}", markup=False)

    def _say_when(self) -> None:
        """Say that a reply which runs on a server keeps its settings."""
        session = self.session
        if session.is_answering and session.info is not None and session.info.endpoint:
            self.show_error(SENT_WITH_ITS_SETTINGS)

    def choices_set(self) -> list[tuple[str, str]]:
        """The names of the settings."""
        listed = deferred.setting_choices.setting_names(self.session.sampling)
        return [each for each in listed if each[0].replace("-", "_") not in _OWN_COMMANDS]

    def values_set(self, setting: str) -> SettingValues:
        return self.values_regenerate(setting)

    def action_system(self) -> None:
        """Show the system prompt where it can be edited."""
        self.action_focus_sampling()
        if self.sampling_panel is not None:
            self.sampling_panel.focus_system_prompt()

    def command_system(self, typed: str) -> None:
        text = "" if typed in ('""', "''") else unquoted(typed)
        self._apply(Preset(name="/system", system_prompt=as_draft(text)))
        said = "The system prompt is set" if text else "There is no system prompt any more"
        self.notify(f"{said}, from the next message on. /undo brings the one before back.", markup=False)
        self.count()

    # --- messages from the sampling panel, handled by name: its class is imported after this one

    def on_sampling_panel_params_changed(self, event: SamplingPanel.ParamsChanged) -> None:
        thinking = self.session.sampling.thinking
        try:
            self.session.set_sampling(event.params)
        except StorageError as error:
            self.show_error(error.info)
        self._say_when()
        if event.params.thinking != thinking:  # the prompt has another length
            self.count()

    def on_sampling_panel_system_prompt_changed(self, event: SamplingPanel.SystemPromptChanged) -> None:
        try:
            self.session.set_system_prompt(event.text)
        except StorageError as error:
            self.show_error(error.info)
        self.count()
