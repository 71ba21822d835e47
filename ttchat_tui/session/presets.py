"""Presets applied to the conversation on screen, taken back, and made from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from ttchat_tui.domain.preset import Preset, preset_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import Update
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.storage.conversations import ConversationStore

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession


class _Settings(NamedTuple):
    sampling: SamplingParams | None
    """None: the defaults apply."""
    system_prompt: str
    model: str


class _Undoable(NamedTuple):
    """What `undo` takes back, apart from presets."""

    archiving: object | None
    """The last one; None: there is none, or something was deleted since."""
    deleted: list[int]
    """The conversations that were deleted last."""

    def is_newer_than(self, before: _Undoable) -> bool:
        """Something was deleted or archived since `before`, and not brought back."""
        return self.deleted != before.deleted or self.archiving not in (None, before.archiving)


class _Applied(NamedTuple):
    preset: str
    home: OpenConversation
    before: _Settings
    after: _Settings
    undoable: _Undoable
    """What was done since is undone first."""


class Presets:
    """Part of a `ChatSession`. The last preset can be taken back until the settings that it made are changed."""

    def __init__(
        self, session: ChatSession, store: ConversationStore, home: Callable[[], OpenConversation]
    ) -> None:
        """`home`: the conversation on screen."""
        self._session = session
        self._store = store
        self._home = home
        self._applied: _Applied | None = None

    def apply(self, preset: Preset) -> None:
        """Set the sampling and the system prompt that a preset gives. The caller checks its model's name and loads it.

        Raises:
            StorageError: they apply to this session only.
        """
        session, before = self._session, self._settings()
        try:
            if preset.sampling.given:  # else the conversation may go on following the model's recommendation
                session.set_sampling(preset.sampling_over(session.sampling, session.default_sampling))
        finally:
            try:
                if preset.system_prompt is not None:
                    session.set_system_prompt(preset.system_prompt)
            finally:
                after = self._settings()._replace(model=preset.model or session.model)
                self._applied = _Applied(preset.name, self._home(), before, after, self._undoable())

    def take_back(self) -> tuple[str, list[Update]]:
        """Set the settings as they were before the last preset. Returns its name; empty if there is none, if its settings have
        been changed, if another conversation is on screen, or if something was deleted or archived since. Raises StorageError:
        they apply to this session only."""
        if self._applied is not None and self._undoable().is_newer_than(self._applied.undoable):
            return "", []
        applied, self._applied = self._applied, None
        home = self._home()
        if applied is None or applied.home is not home or not self._is_in_use(applied):
            return "", []
        session, (sampling, system_prompt, model) = self._session, applied.before
        updates = session.load(model) if model != session.model else []
        if sampling != home.sampling:
            session.set_sampling(sampling or session.default_sampling)
            home.set_sampling(sampling)
        session.set_system_prompt(system_prompt)
        return applied.preset, updates

    def _is_in_use(self, applied: _Applied) -> bool:
        """The settings are those of the preset, its constraint aside if the engine could not follow it."""
        now, after, default = self._settings(), applied.after, self._session.default_sampling
        if now._replace(sampling=after.sampling) != after:
            return False
        before = applied.before.sampling or default
        refused = replace(after.sampling or default, constraint=before.constraint)
        return now.sampling == after.sampling or (now.sampling or default) == refused

    def current(self) -> Preset:
        """The settings of the conversation on screen, as a preset without a name."""
        session = self._session
        return preset_of("", session.sampling, model=session.model, system_prompt=session.system_prompt)

    def _undoable(self) -> _Undoable:
        return _Undoable(self._session.organising.last_archiving, self._store.last_deleted())

    def _settings(self) -> _Settings:
        return _Settings(self._home().sampling, self._session.system_prompt, self._session.model)
