"""Which engine to run, and how long it may take: by the configuration and by this machine."""

from __future__ import annotations

import importlib.util
import os
from typing import Final

from ttchat_tui.config.schema import Config
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.runtime.card_timeouts import CLOSE_S, card_timeouts
from ttchat_tui.engine.runtime.child import Timeouts
from ttchat_tui.engine.tenstorrent.telemetry import System

SHUTDOWN_S: Final = 5.0
"""How long quitting waits for the engine before it is killed."""
_CARD_SHUTDOWN_S: Final = CLOSE_S + 2.0


def chosen_kind(config: Config) -> EngineKind:
    """`[model] engine`; for `auto` the card where there is one and ttnn for it, else the CPU."""
    if config.model.engine != "auto":
        return config.model.engine
    return "tt" if has_card() else "cpu"


def has_card() -> bool:
    """A Tenstorrent card, and an installed ttnn. Neither is opened or imported."""
    return bool(System.of(os.environ).card_numbers()) and importlib.util.find_spec("ttnn") is not None


def timeouts(config: Config) -> Timeouts:
    """When the engine's process counts as hung."""
    settings = config.engine
    base = Timeouts(
        silence_s=settings.hang_timeout_s,
        load_silence_s=settings.load_hang_timeout_s,
        step_s=settings.step_timeout_s or None,
    )
    return card_timeouts(base) if chosen_kind(config) == "tt" else base


def advice(config: Config) -> str:
    """What to do after the engine's process died, besides loading again."""
    if chosen_kind(config) != "tt":
        return ""
    return (
        "If that fails, the card needs a reset: quit, `tt-smi -r` (Galaxy: `tt-smi -glx_reset`), start again."
    )


def shutdown_s(config: Config) -> float:
    """How long quitting waits before it kills: a card that is not closed may have to be reset."""
    return _CARD_SHUTDOWN_S if chosen_kind(config) == "tt" else SHUTDOWN_S
