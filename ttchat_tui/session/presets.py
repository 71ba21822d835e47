"""Presets applied to the conversation on screen, and made from it."""

from __future__ import annotations

from ttchat_tui.domain.preset import Preset, preset_of
from ttchat_tui.session.chat import ChatSession


def apply_preset(session: ChatSession, preset: Preset) -> None:
    """Set the sampling and the system prompt that a preset gives. The caller checks its model's name and loads it.

    Raises:
        StorageError: they apply to this session only.
    """
    try:
        if preset.sampling.given:  # else the conversation may go on following the model's recommendation
            session.set_sampling(preset.sampling_over(session.sampling, session.default_sampling))
    finally:
        if preset.system_prompt is not None:
            session.set_system_prompt(preset.system_prompt)


def current_preset(session: ChatSession) -> Preset:
    """The settings of the conversation on screen, as a preset without a name."""
    return preset_of("", session.sampling, model=session.model, system_prompt=session.system_prompt)
