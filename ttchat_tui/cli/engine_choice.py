"""Which engine to run and how long it may take, by the configuration and by this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ttchat_tui.config.schema import Config
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.factory import DEFAULT_KIND, ENGINES
from ttchat_tui.engine.runtime.child import Timeouts
from ttchat_tui.engine.runtime.timeouts import with_minimum

SHUTDOWN_S: Final = 5.0
"""How long quitting waits for the engine before it is killed."""
_AFTER_CLOSE_S: Final = 2.0
"""Seconds that quitting waits for the process once the engine has had its time to close."""


def chosen_kind(config: Config) -> EngineKind:
    """`[model] engine`; for `auto` the engine that is preferred on this machine, else the CPU."""
    return _preferred_kind() if config.model.engine == "auto" else config.model.engine


def local_kind(config: Config) -> EngineKind:
    """The engine for models of this machine: the chosen one, unless that knows only a server's."""
    chosen = chosen_kind(config)
    return _preferred_kind() if ENGINES[chosen].models == "names" else chosen


def _preferred_kind() -> EngineKind:
    return next((kind for kind, engine in ENGINES.items() if engine.is_preferred_here()), DEFAULT_KIND)


def timeouts(config: Config) -> Timeouts:
    """When the engine's process counts as hung. It has models of this machine, also beside a server."""
    settings = config.engine
    base = Timeouts(
        silence_s=settings.hang_timeout_s,
        load_silence_s=settings.load_hang_timeout_s,
        step_s=settings.step_timeout_s or None,
    )
    return with_minimum(base, ENGINES[local_kind(config)].min_timeouts)


def advice(config: Config) -> Callable[[str], str]:
    """What to do after the engine's process died, by its last output."""
    return ENGINES[local_kind(config)].advice


def shutdown_s(config: Config) -> float:
    """How long quitting waits before it kills the engine: one that takes long to close gets its time."""
    return max(SHUTDOWN_S, ENGINES[local_kind(config)].min_timeouts.close_s + _AFTER_CLOSE_S)
